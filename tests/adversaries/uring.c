/* connect by io_uring, raw: uring HOST PORT WORD [sqpoll]. No libc wrapper, no connect(2). */
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refused(const char *what) {
    printf("refused: ");
    fflush(stdout);
    perror(what);
    return 0;
}

int main(int count, char **arguments) {
    if (count < 4) return 64;
    int sqpoll = count > 4;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2]))};
    inet_pton(AF_INET, arguments[1], &to.sin_addr);
    struct io_uring_params parameters = {.flags = sqpoll ? IORING_SETUP_SQPOLL : 0,
                                         .sq_thread_idle = 2000};
    int ring = (int)syscall(__NR_io_uring_setup, 4, &parameters);
    if (ring < 0) return refused("io_uring_setup");
    size_t queue = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
    size_t results =
        parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
    char *sq = mmap(0, queue, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
                    IORING_OFF_SQ_RING);
    char *cq = mmap(0, results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
                    IORING_OFF_CQ_RING);
    struct io_uring_sqe *entries =
        mmap(0, parameters.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED) return refused("mmap");
    int stream = socket(AF_INET, SOCK_STREAM, 0);
    if (stream < 0) return refused("socket");
    memset(entries, 0, sizeof *entries);
    entries[0].opcode = IORING_OP_CONNECT;
    entries[0].fd = stream;
    entries[0].addr = (unsigned long)&to;
    entries[0].off = sizeof to;
    unsigned *array = (unsigned *)(sq + parameters.sq_off.array);
    unsigned *tail = (unsigned *)(sq + parameters.sq_off.tail);
    unsigned *flags = (unsigned *)(sq + parameters.sq_off.flags);
    array[0] = 0;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_SEQ_CST);
    unsigned enter = IORING_ENTER_GETEVENTS;
    if (sqpoll && (__atomic_load_n(flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP))
        enter |= IORING_ENTER_SQ_WAKEUP;
    if (syscall(__NR_io_uring_enter, ring, sqpoll ? 0 : 1, 1, enter, NULL, 0) < 0)
        return refused("io_uring_enter");
    struct io_uring_cqe *result = (struct io_uring_cqe *)(cq + parameters.cq_off.cqes);
    if (result->res < 0) {
        printf("refused: connect: %s\n", strerror(-result->res));
        return 0;
    }
    char answer[16] = {0};
    if (write(stream, arguments[3], strlen(arguments[3])) < 0) return refused("write");
    if (read(stream, answer, sizeof answer) <= 0) {
        printf("refused: the other end hung up\n");
        return 0;
    }
    puts("sent");
    return 0;
}
