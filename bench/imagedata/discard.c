/*
 * Load for image data: many HTTP/1.1 clients in one thread, which let the kernel throw away what they download
 * (MSG_TRUNC) and send what they upload straight from a file (sendfile), so that servers are what is measured.
 *
 *   discard get    [-n CLIENTS] [-p BYTES_PER_SECOND] [-t SECONDS] URL...       client i fetches URL i modulo their number
 *   discard ranges [-n CLIENTS] [-l LENGTH] -z SIZE -s SECONDS URL...           pieces at random offsets, kept connections
 *   discard put    [-n CLIENTS] [-c] -f FILE URL...                             -c: chunked, 64 KiB each as glanceclient does
 *
 * -H 'Name: value' adds a header and may be repeated; -t ends what takes too long. One JSON object is printed. Its times
 * are CLOCK_MONOTONIC seconds, those of Python's time.monotonic(). URLs are http://127.0.0.1:PORT/PATH.
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
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CLIENTS = 4096, TURN_READS = 8, PACE_MS = 20, CHUNK = 1 << 16, CALL = 1 << 20 };
enum state { IDLE, HEAD, BODY, DONE };

struct client {
    enum state state;
    int fd, status, port;
    const char *path;
    double began, first, last;
    long long body, length, total, requests; /* of this answer: read, announced; of all answers: read, how many */
    long long offset, piece;                 /* of an upload: next byte of the file, what is left of its chunk */
    int out_at, out_end, head_end, sent_all;
    char out[16384], head[8193], cache[16];
};

static struct {
    int count, chunked, file, epoll;
    long long pace, span, size, file_size;
    double limit, seconds;
    char headers[8192];
    enum { GET, RANGES, PUT } mode;
} options = {.count = 1, .limit = 600, .span = 65536, .file = -1};

static char dropped[1 << 20];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void end_client(struct client *c, int status)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    if (status)
        c->status = status;
    c->last = now();
    c->state = DONE;
}

static void write_request(struct client *c)
{
    char extra[256] = "";
    const char *method = options.mode == PUT ? "PUT" : "GET";
    if (options.mode == RANGES) {
        long long at = (long long)(drand48() * (options.size - options.span));
        snprintf(extra, sizeof extra, "Range: bytes=%lld-%lld\r\n", at, at + options.span - 1);
    } else if (options.mode == PUT && options.chunked) {
        strcpy(extra, "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n");
    } else if (options.mode == PUT) {
        snprintf(extra, sizeof extra,
                 "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\nConnection: close\r\n",
                 options.file_size);
    } else {
        strcpy(extra, "Connection: close\r\n");
    }
    c->out_at = 0;
    c->out_end = snprintf(c->out, sizeof c->out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s\r\n", method, c->path,
                          c->port, extra, options.headers);
    c->head_end = 0;
    c->body = 0;
    c->sent_all = options.mode != PUT;
    c->piece = options.mode == PUT && !options.chunked ? options.file_size : 0;
    c->state = HEAD;
}

static void connect_client(struct client *c, int number)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int buffer = options.pace ? 128 << 10 : 4 << 20, on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (connect(c->fd, (void *)&address, sizeof address)) {
        end_client(c, -errno);
        return;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = number};
    if (!options.pace)
        epoll_ctl(options.epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static void watch(struct client *c, int number, unsigned events)
{
    struct epoll_event event = {.events = events, .data.u32 = number};
    if (!options.pace && c->fd >= 0)
        epoll_ctl(options.epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void next_chunk(struct client *c)
{
    long long left = options.file_size - c->offset;
    c->piece = left < CHUNK ? left : CHUNK;
    c->out_at = 0;
    c->out_end = sprintf(c->out, "%s%llx\r\n%s", c->offset ? "\r\n" : "", c->piece, left ? "" : "\r\n");
    c->sent_all = left == 0;
}

/* Send what there is to send; 1 when all of it is out, 0 when the socket is full, -1 when it failed. */
static int push(struct client *c)
{
    for (;;) {
        ssize_t sent;
        if (c->out_at < c->out_end) {
            sent = send(c->fd, c->out + c->out_at, c->out_end - c->out_at, MSG_NOSIGNAL | (c->sent_all ? 0 : MSG_MORE));
            if (sent > 0)
                c->out_at += sent;
        } else if (c->piece > 0) {
            off_t at = c->offset;
            sent = sendfile(c->fd, options.file, &at, c->piece < CALL ? c->piece : CALL);
            if (sent > 0) {
                c->offset += sent;
                c->piece -= sent;
            }
        } else if (!c->sent_all && options.chunked) {
            next_chunk(c);
            continue;
        } else {
            c->sent_all = 1;
            return 1;
        }
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
    }
}

static void read_head_end(struct client *c, char *end)
{
    char *header = strcasestr(c->head, "\r\ncontent-length:");
    c->status = atoi(c->head + 9);
    c->length = header && header < end ? atoll(header + 17) : c->status == 204 ? 0 : -1;
    header = strcasestr(c->head, "\r\nx-cache:");
    if (header && header < end)
        sscanf(header + 10, " %15[a-zA-Z]", c->cache);
    c->body = c->head + c->head_end - (end + 4);
    c->total += c->body;
    c->state = BODY;
}

static ssize_t read_head(struct client *c)
{
    ssize_t got = recv(c->fd, c->head + c->head_end, sizeof c->head - 1 - c->head_end, 0);
    if (got > 0) {
        c->head_end += got;
        c->head[c->head_end] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (end)
            read_head_end(c, end);
        if (end && c->body && !c->first)
            c->first = now();
    }
    return got;
}

static ssize_t read_body(struct client *c, long long most)
{
    ssize_t got = recv(c->fd, dropped, most < (long long)sizeof dropped ? most : (long long)sizeof dropped, MSG_TRUNC);
    if (got > 0) {
        if (!c->first)
            c->first = now();
        c->body += got;
        c->total += got;
    }
    return got;
}

/* An answer is all there: the end, or the next request, over a new connection where the server closed this one. */
static void finish(struct client *c, int number, int closed)
{
    int whole = c->state == BODY && (c->length < 0 ? closed : c->body >= c->length);
    c->requests += whole;
    if (options.mode != RANGES || !whole || c->status != 206 || now() - c->began >= options.seconds) {
        end_client(c, whole ? 0 : -ECONNRESET);
        return;
    }
    if (closed || strcasestr(c->head, "\r\nconnection: close")) {
        close(c->fd);
        connect_client(c, number);
    }
    write_request(c);
    if (c->fd >= 0 && push(c) < 0)
        end_client(c, -EPIPE);
}

static void pull(struct client *c, int number, long long most)
{
    for (int i = 0; i < TURN_READS && c->state != DONE && most > 0; i++) {
        ssize_t got = c->state == HEAD ? read_head(c) : read_body(c, most);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got > 0 && c->state == BODY)
            most -= got;
        if (got <= 0 || (c->state == BODY && c->length >= 0 && c->body >= c->length))
            finish(c, number, got <= 0);
    }
}

static void serve(struct client *c, int number, unsigned events)
{
    if (events & EPOLLOUT) {
        int sent = push(c);
        if (sent > 0)
            watch(c, number, EPOLLIN);
        if (sent < 0 && !(events & EPOLLIN))
            end_client(c, -EPIPE);
    }
    if (c->state != DONE && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        pull(c, number, 1LL << 40);
}

static int living(struct client *clients)
{
    int count = 0;
    for (int i = 0; i < options.count; i++)
        count += clients[i].state != DONE;
    return count;
}

static void run(struct client *clients, double start)
{
    while (living(clients) && now() - start < options.limit) {
        struct epoll_event events[64];
        int ready = epoll_wait(options.epoll, events, 64, 500);
        for (int i = 0; i < ready; i++)
            serve(&clients[events[i].data.u32], events[i].data.u32, events[i].events);
    }
}

static void run_paced(struct client *clients, double start)
{
    for (int i = 0; i < options.count; i++)
        if (clients[i].state != DONE && push(&clients[i]) < 0)
            end_client(&clients[i], -EPIPE);
    while (living(clients) && now() - start < options.limit) {
        for (int i = 0; i < options.count; i++) {
            struct client *c = &clients[i];
            if (c->state != DONE)
                pull(c, i, (long long)((now() - c->began) * options.pace) - c->total);
        }
        usleep(PACE_MS * 1000);
    }
}

static void report(struct client *clients, double start)
{
    struct rusage used;
    double end = now();
    getrusage(RUSAGE_SELF, &used);
    printf("{\"began\": %.6f, \"ended\": %.6f, \"cpu_seconds\": %.4f, \"clients\": [", start, end,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    for (int i = 0; i < options.count; i++) {
        struct client *c = &clients[i];
        printf("%s{\"status\": %d, \"bytes\": %lld, \"requests\": %lld, \"first\": %.6f, \"last\": %.6f, \"cache\": \"%s\"}",
               i ? ", " : "", c->status, c->total, c->requests, c->first, c->state == DONE ? c->last : 0.0, c->cache);
    }
    printf("]}\n");
}

static int read_options(int count, char **words)
{
    int letter;
    if (count < 2)
        return 0;
    options.mode = !strcmp(words[1], "put") ? PUT : !strcmp(words[1], "ranges") ? RANGES : GET;
    optind = 2;
    while ((letter = getopt(count, words, "n:p:t:l:z:s:cf:H:")) > 0)
        switch (letter) {
        case 'n': options.count = atoi(optarg); break;
        case 'p': options.pace = atoll(optarg); break;
        case 't': options.limit = atof(optarg); break;
        case 'l': options.span = atoll(optarg); break;
        case 'z': options.size = atoll(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'c': options.chunked = 1; break;
        case 'f': options.file = open(optarg, O_RDONLY | O_CLOEXEC); break;
        case 'H':
            strncat(options.headers, optarg, sizeof options.headers - strlen(options.headers) - 3);
            strcat(options.headers, "\r\n");
            break;
        default: return 0;
        }
    struct stat about;
    if (options.mode == PUT && fstat(options.file, &about))
        return 0;
    options.file_size = options.mode == PUT ? about.st_size : 0;
    return optind < count && options.count > 0 && options.count <= MOST_CLIENTS;
}

int main(int count, char **words)
{
    if (!read_options(count, words)) {
        fprintf(stderr, "discard: see the head of discard.c for how it is called\n");
        return 2;
    }
    struct client *clients = calloc(options.count, sizeof *clients);
    double start = now();
    options.epoll = epoll_create1(EPOLL_CLOEXEC);
    srand48(getpid());
    for (int i = 0; i < options.count; i++) {
        struct client *c = &clients[i];
        char *url = words[optind + i % (count - optind)], *path = strchr(url + (strlen(url) > 7 ? 7 : 0), '/');
        if (sscanf(url, "http://127.0.0.1:%d", &c->port) != 1 || !path)
            return 2;
        c->path = path;
        c->fd = -1;
        c->began = now();
        connect_client(c, i);
        if (c->state != DONE)
            write_request(c);
    }
    if (options.pace)
        run_paced(clients, start);
    else
        run(clients, start);
    report(clients, start);
    return 0;
}
