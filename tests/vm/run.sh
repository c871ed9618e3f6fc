#!/bin/sh
# The suites of the kernel's hooks in a virtual machine with Debian 12's kernel:
# run.sh FOLDER SECONDS SUITE...
#
# FOLDER is built anew, except for the kernel. Each SUITE is a test binary; the product's binaries lie
# in $SEALTAP_BIN_DIR, as for any suite. What the machine says goes to standard output; the exit code
# is 0 only where it said that all suites ended well, within SECONDS.
set -eu
folder=$1 seconds=$2
shift 2
root=$folder/root
PWD=$(pwd -P)
rm -rf "$root"
mkdir -p "$root"

# A mirror may fail once.
patient="-o Acquire::Retries=5"
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
missing=
command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
command -v busybox >/dev/null || missing="$missing busybox-static"
command -v ip >/dev/null || missing="$missing iproute2"
command -v curl >/dev/null || missing="$missing curl"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    as_root apt-get $patient update --quiet
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive as_root \
        apt-get $patient install --quiet --yes --no-install-recommends $missing
fi

# The kernel: unpacked, not installed.
if ! [ -d "$folder/kernel" ]; then
    # Old lists may name one that the mirror no longer has; where none can be fetched they may still do.
    # shellcheck disable=SC2086
    as_root apt-get $patient update --quiet || true
    package=$(apt-cache search --names-only '^linux-image-6\.1\..*-cloud-amd64-unsigned$' |
        cut -d ' ' -f 1 | sort -V | tail -n 1)
    if [ -z "$package" ]; then
        # Of that nothing is known here: none passed, none failed.
        echo "SKIPPED: this system's packages have no kernel 6.1 for machines in a cloud"
        echo "test result: ok. 0 passed; 0 failed; 1 ignored"
        exit 0
    fi
    # What was cut off leaves nothing that is taken for a whole one.
    rm -rf "$folder/package" "$folder/unpacked"
    mkdir -p "$folder/package"
    # shellcheck disable=SC2086
    (cd "$folder/package" && apt-get $patient download --quiet "$package")
    dpkg -x "$folder"/package/*.deb "$folder/unpacked"
    mv "$folder/unpacked" "$folder/kernel"
fi
release=$(basename "$folder"/kernel/lib/modules/*)

# Everything at the path that it has here; libraries with it.
put() {
    for file in "$@"; do
        [ -e "$root$file" ] && continue
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
        ldd "$file" 2>/dev/null | grep -o '/[^ )]*' | while read -r library; do
            [ -e "$root$library" ] && continue
            mkdir -p "$root$(dirname "$library")"
            cp -L "$library" "$root$library"
        done
    done
}
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/root" "$root/suites" "$root/bin" "$root/mnt"
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in modprobe poweroff uname dirname basename dmesg switch_root; do
    ln -s busybox "$root/bin/$applet"
done
for program in sh cat cmp cp chmod cut env false getent grep head id ls mkdir mkfifo mount mv rm rmdir sed seq \
    sleep sort tail touch true tr umount wc nsenter setpriv unshare ip tc curl python3; do
    # Debian's own, whatever else a version manager has put before it.
    for found in /usr/sbin/$program /usr/bin/$program /sbin/$program /bin/$program; do
        [ -x "$found" ] && break
    done
    put "$found"
    case $found in /bin/*) ;; *) ln -sf "$found" "$root/bin/$program" ;; esac
done
python=/usr/lib/$(basename "$(readlink -f /usr/bin/python3)")
mkdir -p "$root$python"
(cd "$python" && tar -c --exclude=test --exclude=idlelib --exclude=__pycache__ .) |
    tar -x -C "$root$python"
put "$python"/lib-dynload/*.so
mkdir -p "$root/lib/modules/$release/kernel/drivers/net"
modules=$folder/kernel/lib/modules/$release
cp -r "$modules/kernel/net" "$modules/kernel/lib" "$root/lib/modules/$release/kernel/"
cp "$modules/kernel/drivers/net/veth.ko" "$root/lib/modules/$release/kernel/drivers/net/"
mkdir -p "$root/lib/modules/$release/kernel/drivers/block"
cp "$modules/kernel/drivers/block/loop.ko" "$root/lib/modules/$release/kernel/drivers/block/"
cp "$modules"/modules.order "$modules"/modules.builtin* "$root/lib/modules/$release/"
busybox depmod -b "$root" "$release" 2>/dev/null ||
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$root" "$release"

# The suites, the binaries under test, and what the suites start.
binaries=$SEALTAP_BIN_DIR
put "$binaries/sealtap" "$binaries/sealtap-verify"
mkdir -p "$root$PWD/tests"
cp -r tests/adversaries tests/peers "$root$PWD/tests/"
for source in tests/adversaries/*.c; do
    program=$root$PWD/${source%.c}
    cc -O1 -o "$program" "$source"
done
for suite in "$@"; do
    put "$suite"
    mv "$root$suite" "$root/suites/$(basename "$suite").test"
done
strip --strip-all "$root"/suites/*.test "$root$binaries/sealtap" "$root$binaries/sealtap-verify"
{
    echo "export SEALTAP_KERNEL_SUITE=1 SEALTAP_BIN_DIR='$binaries'"
    echo "export SEALTAP_PROBES='$PWD/tests/adversaries'"
    echo "export SEALTAP_CONNECTIONS='${SEALTAP_CONNECTIONS:-1}'"
    echo "SUITE_ARGUMENTS='${SUITE_ARGUMENTS:-}'"
    echo "AT_A_TIME='${AT_A_TIME:-3}'"
} >"$root/suites/environment"
mkdir -p "$root/etc"
printf '%s\n' 'root:x:0:0::/root:/bin/sh' 'nobody:x:65534:65534::/:/bin/false' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >"$root/etc/group"
# What tests put their own in place of.
printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >"$root/etc/hosts"
touch "$root/etc/resolv.conf" "$root/etc/nsswitch.conf"
# Whom this system trusts, as a gateway tells its commands.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then put /etc/ssl/certs/ca-certificates.crt; fi
cp tests/vm/init "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$folder/image"

said=$folder/console
timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nodefaults \
    -no-reboot -display none -serial stdio -kernel "$folder/kernel/boot/vmlinuz-$release" \
    -initrd "$folder/image" -append "console=ttyS0 quiet panic=-1 no_timer_check" </dev/null |
    sed -u 's/\r$//' | tee "$said"
grep -q '^sealtap-vm: ended 0$' "$said" || {
    echo "the machine did not say within $seconds s that all went well" >&2
    exit 1
}
