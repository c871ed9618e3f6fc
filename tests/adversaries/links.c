/* What root can do to a program that is attached: links detach|replace LINK ATTACH_TYPE.
 * `replace` puts one in its place that sees nothing. */
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attributes) {
    return syscall(__NR_bpf, command, attributes, sizeof *attributes);
}

static int failed(const char *what) {
    perror(what);
    return 1;
}

int main(int count, char **arguments) {
    if (count < 4) return 64;
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_id = (unsigned)atoi(arguments[2]);
    int link = (int)bpf(BPF_LINK_GET_FD_BY_ID, &attributes);
    if (link < 0) return failed("the link cannot be opened");
    if (!strcmp(arguments[1], "detach")) {
        memset(&attributes, 0, sizeof attributes);
        attributes.link_detach.link_fd = (unsigned)link;
        return bpf(BPF_LINK_DETACH, &attributes) < 0 ? failed("detach") : 0;
    }
    /* r0 = 1; exit: go on. */
    struct bpf_insn program[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    int attach_type = atoi(arguments[3]);
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
    attributes.expected_attach_type = (unsigned)attach_type;
    attributes.insns = (unsigned long)program;
    attributes.insn_cnt = 2;
    attributes.license = (unsigned long)"GPL";
    int other = (int)bpf(BPF_PROG_LOAD, &attributes);
    if (other < 0) return failed("the program cannot be loaded");
    memset(&attributes, 0, sizeof attributes);
    attributes.link_update.link_fd = (unsigned)link;
    attributes.link_update.new_prog_fd = (unsigned)other;
    return bpf(BPF_LINK_UPDATE, &attributes) < 0 ? failed("replace") : 0;
}
