/* Hostile clients: attack flood|once|datagrams PORT COUNT reads|deaf LINE [FIRST]
 *
 * flood:     COUNT connections send LINE over and over, as fast as they are taken
 * once:      COUNT connections send 64 KiB of LINE, each time that standard input has a byte
 * datagrams: one socket sends LINE as a datagram, COUNT times a second
 *
 * Each connection begins with FIRST, if it is given: what a server closes at a bad first line.
 *
 * What comes back is thrown away, or, by the deaf, never read. It prints "ready" when all are
 * connected, begins when standard input has a byte, and goes on until it is killed or nobody
 * listens. It sends in blocks without blocking, so that the server is what limits it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 65536 };

struct peer {
    int fd;
    size_t at;   /* in the block, which is sent over and over */
    size_t left; /* bytes to be sent still */
};

static char block[BLOCK], waste[BLOCK];
static size_t block_size;
static struct sockaddr_in server = {.sin_family = AF_INET};
static int set, endless, reads;
static const char *first = "";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void await_byte(void) {
    char byte;
    if (read(0, &byte, 1) != 1) exit(0);
}

static void watch(struct peer *p, int how) {
    unsigned events = (reads ? EPOLLIN : 0) | (p->left ? EPOLLOUT : 0);
    struct epoll_event event = {.events = events, .data.ptr = p};
    if (epoll_ctl(set, how, p->fd, &event)) die("epoll_ctl");
}

static void open_peer(struct peer *p) {
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(p->fd, (void *)&server, sizeof server)) exit(0); /* nobody listens */
    if (*first) send(p->fd, first, strlen(first), MSG_NOSIGNAL);
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    p->at = 0;
    watch(p, EPOLL_CTL_ADD);
}

static void serve(struct peer *p, unsigned events) {
    ssize_t size = 1;
    if (events & EPOLLIN && reads) size = recv(p->fd, waste, sizeof waste, 0);
    int is_over = size == 0 || (size < 0 && errno != EAGAIN) || events & (EPOLLERR | EPOLLHUP);
    if (!is_over && p->left) {
        size_t most = block_size - p->at < p->left ? block_size - p->at : p->left;
        size = send(p->fd, block + p->at, most, MSG_NOSIGNAL);
        is_over = size < 0 && errno != EAGAIN;
        if (size > 0) {
            p->at = (p->at + size) % block_size;
            if (!endless && !(p->left -= size)) watch(p, EPOLL_CTL_MOD);
        }
    }
    if (is_over) {
        close(p->fd);
        if (!endless) p->left = 0;
        open_peer(p);
    }
}

static void send_streams(int count) {
    struct peer *all = calloc(count, sizeof *all);
    set = epoll_create1(0);
    for (int i = 0; i < count; i++) open_peer(&all[i]);
    puts("ready");
    fflush(stdout);
    struct epoll_event input = {.events = EPOLLIN}; /* whose pointer is no peer */
    if (epoll_ctl(set, EPOLL_CTL_ADD, 0, &input)) die("epoll_ctl");
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(set, events, 64, -1);
        for (int e = 0; e < ready; e++) {
            if (events[e].data.ptr) {
                serve(events[e].data.ptr, events[e].events);
                continue;
            }
            await_byte();
            for (int i = 0; i < count; i++) {
                all[i].left = block_size;
                watch(&all[i], EPOLL_CTL_MOD);
            }
        }
    }
}

static void send_datagrams(int rate, const char *line) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(fd, (void *)&server, sizeof server)) die("connect");
    puts("ready");
    fflush(stdout);
    await_byte();
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (;;) {
        send(fd, line, strlen(line), 0);
        while (reads && recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0) continue;
        next.tv_nsec += 1000000000 / rate;
        if (next.tv_nsec >= 1000000000) next.tv_nsec -= 1000000000, next.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
}

int main(int words, char **word) {
    if (words == 7) first = word[6];
    if (words != 6 && words != 7) {
        fprintf(stderr, "attack flood|once|datagrams PORT COUNT reads|deaf LINE [FIRST]\n");
        return 2;
    }
    server.sin_port = htons(atoi(word[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int count = atoi(word[3]);
    endless = !strcmp(word[1], "flood");
    reads = !strcmp(word[4], "reads");
    size_t length = strlen(word[5]);
    if (count < 1 || length < 1 || length > BLOCK) return 2;
    for (; block_size + length <= BLOCK; block_size += length)
        memcpy(block + block_size, word[5], length);
    if (!strcmp(word[1], "datagrams")) send_datagrams(count, word[5]);
    send_streams(count);
}
