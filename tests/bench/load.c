/* The load generator:
 * load tcp|udp HOST PORT CONNECTIONS DEPTH SECONDS VERB GREETING_LINES [REQUESTS]
 *
 * Keeps DEPTH requests outstanding on each connection and counts the lines (TCP) or datagrams
 * (UDP) that come back. Each connection sends a ring of requests whose tags and arguments vary,
 * so that no server can answer from a cache. It is C, so that the server is what is measured.
 * It ends after SECONDS, or after REQUESTS. It prints: replies per second, median and 99th
 * percentile in microseconds of how long a batch took, datagrams lost; then the median of the
 * first batch, of those up to the 10th, the 100th, and so on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RING = 997, LONGEST = 64 };

struct peer {
    int fd;
    int greeting; /* lines still to be skipped */
    int out;      /* requests that are not answered */
    int at;       /* next request of the ring */
    double sent;  /* when its batch was sent */
};

static char ring[RING][LONGEST];
static int length[RING];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void make_ring(const char *verb) {
    for (int i = 0; i < RING; i++) {
        if (*verb == '=') { /* another protocol's: as it is */
            length[i] = snprintf(ring[i], LONGEST, "%s\r\n", verb + 1);
            continue;
        }
        int call = !strcmp(verb, "CALL");
        length[i] = call ? snprintf(ring[i], LONGEST, "t%d CALL echo value-%d-%d\n", i, i, i * 7919)
                         : snprintf(ring[i], LONGEST, "t%d %s\n", i, verb);
    }
}

static void send_batch(struct peer *p, int depth, int udp) {
    char batch[256 * LONGEST];
    size_t size = 0;
    for (int i = 0; i < depth; i++) {
        int k = p->at++ % RING;
        if (udp) {
            if (send(p->fd, ring[k], length[k], 0) < 0 && errno != EAGAIN) die("send");
        } else {
            memcpy(batch + size, ring[k], length[k]);
            size += length[k];
        }
    }
    if (!udp && send(p->fd, batch, size, MSG_NOSIGNAL) != (ssize_t)size) die("send");
    p->out = depth;
    p->sent = now();
}

int main(int count, char **word) {
    if (count != 9 && count != 10) {
        fprintf(stderr, "load tcp|udp HOST PORT CONNECTIONS DEPTH SECONDS VERB GREETING_LINES"
                        " [REQUESTS]\n");
        return 2;
    }
    int udp = !strcmp(word[1], "udp"), peers = atoi(word[4]), depth = atoi(word[5]);
    double seconds = atof(word[6]);
    if (peers < 1 || peers > 1000 || depth < 1 || depth > 256) return 2;
    make_ring(word[7]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(word[3]))};
    inet_pton(AF_INET, word[2], &to.sin_addr);
    struct peer *all = calloc(peers, sizeof *all);
    int epoll = epoll_create1(0);
    for (int i = 0; i < peers; i++) {
        struct peer *p = &all[i];
        int on = 1;
        p->fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
        if (connect(p->fd, (void *)&to, sizeof to)) die("connect");
        if (!udp) setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(p->fd, F_SETFL, O_NONBLOCK);
        p->greeting = udp ? 0 : atoi(word[8]);
        p->at = i * 31;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
        epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &event);
        if (!p->greeting) send_batch(p, depth, udp);
    }
    enum { MOST = 1000000 };
    double *took = malloc(MOST * sizeof *took), start = now(), end = start + seconds;
    long total = 0, lost = 0, batches = 0, most = count == 10 ? atol(word[9]) : 0;
    static char data[1 << 16];
    while (now() < end && (!most || total < most)) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 200);
        for (int i = 0; !ready && udp && i < peers; i++) {
            lost += all[i].out;
            send_batch(&all[i], depth, udp);
        }
        for (int e = 0; e < ready; e++) {
            struct peer *p = events[e].data.ptr;
            ssize_t size;
            while ((size = recv(p->fd, data, sizeof data, 0)) > 0) {
                int lines = 0;
                for (ssize_t k = 0; k < size; k++) lines += data[k] == '\n';
                int skipped = lines < p->greeting ? lines : p->greeting;
                p->greeting -= skipped;
                p->out -= udp ? 1 : lines - skipped;
                total += udp ? 1 : lines - skipped;
            }
            if (size == 0) {
                fprintf(stderr, "the server closed a connection\n");
                return 1;
            }
            if (p->out > 0 || p->greeting) continue;
            if (p->sent && batches < MOST) took[batches++] = now() - p->sent;
            send_batch(p, depth, udp);
        }
    }
    double elapsed = now() - start;
    double medians[8];
    int powers = 0;
    for (long from = 0, to = 1; to <= batches; from = to, to *= 10) {
        qsort(took + from, to - from, sizeof *took, by_value);
        medians[powers++] = took[(from + to) / 2] * 1e6;
    }
    qsort(took, batches, sizeof *took, by_value);
    printf("%.0f %.0f %.0f %ld", total / elapsed, batches ? took[batches / 2] * 1e6 : 0,
           batches ? took[(long)(batches * .99)] * 1e6 : 0, lost);
    for (int i = 0; i < powers; i++) printf(" %.2f", medians[i]);
    puts("");
    return 0;
}
