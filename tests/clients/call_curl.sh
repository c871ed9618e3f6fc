# curl: JSON, an upload in parts, chunks, an event stream, audio, HTTP/2 where TLS offers it.
#
#     sh call_curl.sh BASE
#
# Each case is one line of JSON on standard output, with what curl printed.

base=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
head -c 3000000 /dev/zero | tr '\0' 'z' >"$folder/large"
printf 'second' >"$folder/b.txt"

# case_of NAME ARGUMENTS...: the digest of what curl printed, the status last; anything but success is
# the failure of the case.
case_of() {
    name=$1
    shift
    member=result
    curl --silent --show-error --fail --max-time 20 --write-out '%{http_code}' "$@" \
        >"$folder/said" 2>&1 || member=failed
    said=$(tail -c 100 "$folder/said" | tr -cd '[:alnum:]. :' | tail -c 60)
    digest=$(sha256sum <"$folder/said")
    printf '{"case":"%s","%s":"%s %s"}\n' "$name" "$member" "${digest%% *}" "$said"
}

case_of json --header 'Content-Type: application/json' --data '{"n":9007199254740993}' "$base/echo"
case_of query --path-as-is "$base/echo?a=%7E%2f;b=1&a=&empty"
case_of upload --form purpose=batch --form "file=@$folder/large" --form "file=@$folder/b.txt;type=text/plain" "$base/upload"
case_of large --request PUT --data-binary "@$folder/large" "$base/echo"
case_of chunks --header 'Transfer-Encoding: chunked' --data-binary "@$folder/b.txt" "$base/echo"
case_of events --no-buffer "$base/events"
case_of audio "$base/audio"
case_of zipped --compressed "$base/zipped"
case_of head --head --output /dev/null "$base/audio"
case_of redirect --location --data again "$base/elsewhere"
case_of http1 --http1.1 --data one "$base/echo"
# Over TLS it offers a protocol by ALPN that servers no longer know.
case $base in http:*) case_of http10 --http1.0 --data one "$base/echo" ;; esac
