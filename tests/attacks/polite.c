/* A polite client: polite PORT SECONDS LIMIT LINE GREETING_LINES
 *
 * Sends LINE over one connection, waits for the line that answers it, and so on; at last it does so
 * over a new connection. It prints "ready" when it is connected, begins when standard input has a
 * byte, and prints the median, the 99th percentile and the maximum of how long an answer took, in
 * seconds, how many there were, and how long the answer over the new connection took. What does not
 * come within LIMIT seconds counts as LIMIT.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4000000 };

static int fd;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Reads until so many lines have come; returns whether they have. */
static int lines(int count) {
    char data[4096];
    while (count > 0) {
        ssize_t size = recv(fd, data, sizeof data, 0);
        if (size <= 0) return 0;
        for (ssize_t i = 0; i < size; i++) count -= data[i] == '\n';
    }
    return 1;
}

/* Connects, and reads the greeting; returns whether both have succeeded. */
static int open_connection(int port, double limit, int greeting) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval patience = {.tv_sec = (long)limit};
    patience.tv_usec = (limit - patience.tv_sec) * 1e6;
    int on = 1;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* of connect, too */
    return !connect(fd, (void *)&to, sizeof to) && lines(greeting);
}

int main(int words, char **word) {
    if (words != 6) {
        fprintf(stderr, "polite PORT SECONDS LIMIT LINE GREETING_LINES\n");
        return 2;
    }
    int port = atoi(word[1]), greeting = atoi(word[5]);
    double seconds = atof(word[2]), limit = atof(word[3]);
    setpriority(PRIO_PROCESS, 0, -10); /* if we may: the hostile share its core */
    if (!open_connection(port, limit, greeting)) return 1;
    puts("ready");
    fflush(stdout);
    char byte;
    if (read(0, &byte, 1) != 1) return 1;
    double *took = malloc(MOST * sizeof *took), end = now() + seconds;
    long count = 0;
    int answered = 1;
    while (answered && count < MOST && now() < end) {
        double sent = now();
        if (send(fd, word[4], strlen(word[4]), MSG_NOSIGNAL) < 0) return 1;
        answered = lines(1);
        took[count++] = answered ? now() - sent : limit;
    }
    double began = now();
    int greeted = open_connection(port, limit, greeting);
    int is_new_answered = greeted && send(fd, word[4], strlen(word[4]), MSG_NOSIGNAL) > 0 && lines(1);
    double anew = is_new_answered ? now() - began : limit;
    qsort(took, count, sizeof *took, by_value);
    printf("%f %f %f %ld %f\n", took[count / 2], took[(long)(count * .99)], took[count - 1], count,
           anew);
    return 0;
}
