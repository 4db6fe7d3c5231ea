/* The canned model server of `make bench`: vLLM's answers from memory, as fast as one thread can send them.
 *
 *   backend DIR PORT INTERVAL_MS ADDRESS...
 *
 * DIR holds the bodies (bench/canned.py writes them): chat.json, models.json, metrics-N.txt for the Nth address with
 * one @RUNNING@ in it, stream.sse (a stream's events), usage.sse (the event that stream_options.include_usage adds).
 * PORT 0 takes a free one. The port is printed when every address listens. A stream's events go out INTERVAL_MS apart,
 * each with the moment that it is sent (CLOCK_MONOTONIC, ns) in place of the digits of its "sent-0000000000000000000".
 * GET /pages says how many metrics pages were served until now, by all addresses together.
 * It ends by SIGTERM; whoever starts it reads its exit status.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define MAX_ENDPOINTS 128
#define STAMP "sent-0000000000000000000"
#define MAX_EVENTS 512
#define MAX_BODY (64u << 20)
#define SCANNED_BODY (256u << 10) /* a longer body is no stream of ours: it is not searched */

typedef struct Conn Conn;
struct Conn {
    int fd, endpoint;
    bool listener, streaming, gone, usage, wants_out;
    Text in, out;
    size_t sent; /* of `out` */
    size_t step; /* of a stream: the next event */
    int64_t due; /* of a stream: when the next event goes out, ns */
    Conn *next;  /* in the queue of streams */
};

static const Text nothing = {.data = ""};
static Text chat, models, health, missing, stream_head, last, last_with_usage;
static struct { Text text; size_t stamp; } *events; /* stamp: where its digits are */
static long pages;
static Text page_start[MAX_ENDPOINTS], page_end[MAX_ENDPOINTS];
static size_t event_count;
static long running[MAX_ENDPOINTS];
static int64_t interval;
static int epoll_fd;
static Conn *first_stream, *last_stream; /* every interval is the same, so the queue is in the order of `due` */

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static Text answer(const char *status, const char *type, const Text *body) {
    Text text = {0};
    char head[512];
    snprintf(head, sizeof head,
             "HTTP/1.1 %s\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
             "content-length: %zu\r\ncontent-type: %s\r\n\r\n", status, body->len, type);
    add_string(&text, head);
    add(&text, body->data, body->len);
    return text;
}

static void add_chunk(Text *t, const char *data, size_t len) {
    char size[32];
    snprintf(size, sizeof size, "%zx\r\n", len);
    add_string(t, size);
    add(t, data, len);
    add_string(t, "\r\n");
}

/* stream.sse is cut at its empty lines; its last event ([DONE]) goes out with the one before it, as from vLLM. */
static void prepare_stream(const char *dir) {
    Text sse = read_text(dir, "stream.sse"), usage = read_text(dir, "usage.sse");
    char *at = sse.data, *end;
    while ((end = strstr(at, "\n\n"))) {
        events = realloc(events, (event_count + 1) * sizeof *events);
        if (!events) fail("memory");
        Text text = {0};
        add_chunk(&text, at, end + 2 - at);
        char *stamp = memmem(text.data, text.len, STAMP, sizeof STAMP - 1);
        events[event_count].text = text;
        events[event_count++].stamp = stamp ? stamp + 5 - text.data : 0;
        at = end + 2;
    }
    if (event_count < 2) { fprintf(stderr, "backend: stream.sse has fewer than two events\n"); exit(1); }
    event_count--;
    add(&last, events[event_count].text.data, events[event_count].text.len);
    add_chunk(&last_with_usage, usage.data, usage.len);
    add(&last_with_usage, last.data, last.len);
    add_string(&last, "0\r\n\r\n");
    add_string(&last_with_usage, "0\r\n\r\n");
    add_string(&stream_head,
               "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"
               "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n");
}

static void prepare(const char *dir, int endpoints) {
    Text body = read_text(dir, "chat.json");
    chat = answer("200 OK", "application/json", &body);
    body = read_text(dir, "models.json");
    models = answer("200 OK", "application/json", &body);
    Text detail = {0};
    health = answer("200 OK", "text/plain; charset=utf-8", &nothing);
    add_string(&detail, "{\"detail\":\"Not Found\"}");
    missing = answer("404 Not Found", "application/json", &detail);
    for (int i = 0; i < endpoints; i++) {
        char name[64];
        snprintf(name, sizeof name, "metrics-%d.txt", i);
        Text page = read_text(dir, name);
        char *mark = strstr(page.data, "@RUNNING@");
        if (!mark) { fprintf(stderr, "backend: %s has no @RUNNING@\n", name); exit(1); }
        add(&page_start[i], page.data, mark - page.data);
        add_string(&page_end[i], mark + strlen("@RUNNING@"));
    }
    prepare_stream(dir);
}

static void watch(Conn *c, int how, bool out) {
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, how, c->fd, &event) < 0) fail("epoll_ctl");
    c->wants_out = out;
}

static void hang_up(Conn *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->gone = true;
    if (c->streaming) return; /* the queue still knows it: step_streams frees it */
    free(c->in.data);
    free(c->out.data);
    free(c);
}

/* False when the connection is gone. */
static bool flush(Conn *c) {
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!c->wants_out) watch(c, EPOLL_CTL_MOD, true);
            return true;
        }
        if (n < 0) { hang_up(c); return false; }
        c->sent += n;
    }
    c->out.len = c->sent = 0;
    if (c->wants_out) watch(c, EPOLL_CTL_MOD, false);
    return true;
}

static void enqueue(Conn *c) {
    c->next = NULL;
    if (last_stream) last_stream->next = c;
    else first_stream = c;
    last_stream = c;
}

static bool names(const char *line, const char *end, const char *name) {
    size_t len = strlen(name);
    return (size_t)(end - line) > len && !strncasecmp(line, name, len);
}

/* Where a chunked body that starts at `at` ends; 0 when it is not all there yet. Trailers are not expected. */
static size_t chunked_end(const Text *in, size_t at) {
    for (;;) {
        char *line_end = memmem(in->data + at, in->len - at, "\r\n", 2);
        if (!line_end) return 0;
        size_t size = strtoul(in->data + at, NULL, 16);
        at = line_end + 2 - in->data + size + 2;
        if (at > in->len) return 0;
        if (!size) return at;
    }
}

static bool has(const char *body, size_t len, const char *words) { return memmem(body, len, words, strlen(words)); }

static void start_stream(Conn *c, const char *body, size_t len) {
    c->usage = has(body, len, "\"include_usage\":true") || has(body, len, "\"include_usage\": true");
    c->streaming = true;
    c->step = 0;
    c->due = now_ns() + interval;
    running[c->endpoint]++;
    enqueue(c);
    add(&c->out, stream_head.data, stream_head.len);
}

/* A page of plain text with a number in it. */
static void add_page(Text *out, const Text *start, long number, const char *after, const Text *end) {
    Text page = {0};
    char digits[32];
    snprintf(digits, sizeof digits, "%ld%s", number, after);
    add(&page, start->data, start->len);
    add_string(&page, digits);
    add(&page, end->data, end->len);
    Text whole = answer("200 OK", "text/plain; version=1.0.0; charset=utf-8", &page);
    add(out, whole.data, whole.len);
    free(page.data);
    free(whole.data);
}

static void respond(Conn *c, const char *target, size_t target_len, const char *body, size_t len) {
    const Text *text = &missing;
    if (target_len == 20 && !memcmp(target, "/v1/chat/completions", 20)) {
        if (len <= SCANNED_BODY && (has(body, len, "\"stream\":true") || has(body, len, "\"stream\": true"))) {
            start_stream(c, body, len);
            return;
        }
        text = &chat;
    } else if (target_len == 8 && !memcmp(target, "/metrics", 8)) {
        pages++;
        add_page(&c->out, &page_start[c->endpoint], running[c->endpoint], ".0", &page_end[c->endpoint]);
        return;
    } else if (target_len == 6 && !memcmp(target, "/pages", 6)) {
        add_page(&c->out, &nothing, pages, "", &nothing);
        return;
    } else if (target_len == 10 && !memcmp(target, "/v1/models", 10)) {
        text = &models;
    } else if (target_len == 7 && !memcmp(target, "/health", 7)) {
        text = &health;
    }
    add(&c->out, text->data, text->len);
}

/* Answer every whole request in `in`, up to a stream. False when the connection is gone. */
static bool serve(Conn *c) {
    size_t at = 0;
    while (!c->streaming && at < c->in.len) {
        char *start = c->in.data + at;
        char *head_end = memmem(start, c->in.len - at, "\r\n\r\n", 4);
        if (!head_end) break;
        size_t body_at = head_end + 4 - c->in.data, len = 0;
        bool chunked = false, expects = false;
        for (char *line = start, *end; line < head_end + 2; line = end + 1) {
            end = memchr(line, '\n', head_end + 2 - line);
            if (names(line, end, "content-length:")) len = strtoul(line + 15, NULL, 10);
            else if (names(line, end, "transfer-encoding:")) chunked = true;
            else if (names(line, end, "expect:")) expects = true;
        }
        if (len > MAX_BODY || expects) { hang_up(c); return false; } /* nothing that the bench sends */
        size_t end = chunked ? chunked_end(&c->in, body_at) : body_at + len;
        if (!end || end > c->in.len) {
            if (end > c->in.len) reserve(&c->in, end + 1);
            break;
        }
        char *target = memchr(start, ' ', head_end - start);
        char *target_end = target ? memchr(target + 1, ' ', head_end - target - 1) : NULL;
        if (!target_end) { hang_up(c); return false; }
        respond(c, target + 1, target_end - target - 1, c->in.data + body_at, end - body_at);
        at = end;
    }
    if (at) {
        memmove(c->in.data, c->in.data + at, c->in.len - at);
        c->in.len -= at;
    }
    return flush(c);
}

static void receive(Conn *c) {
    for (;;) {
        if (c->in.room < c->in.len + 2048) reserve(&c->in, c->in.len + 4096);
        size_t room = c->in.room - c->in.len - 1;
        ssize_t n = recv(c->fd, c->in.data + c->in.len, room, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) { hang_up(c); return; }
        c->in.len += n;
        if (!serve(c)) return;
        if ((size_t)n < room) return; /* drained: save the call that would say so */
    }
}

static void add_event(Text *t, size_t step) {
    size_t at = t->len + events[step].stamp;
    add(t, events[step].text.data, events[step].text.len);
    if (!events[step].stamp) return;
    int64_t now = now_ns();
    for (size_t digit = at + 19; digit-- > at; now /= 10) t->data[digit] = '0' + now % 10;
}

/* Send every event that is due; the time until the next one in ms, -1 for none. */
static int step_streams(void) {
    int64_t now = now_ns();
    for (Conn *c; (c = first_stream) && (c->gone || c->due <= now);) {
        first_stream = c->next;
        if (!first_stream) last_stream = NULL;
        bool ends = c->gone;
        if (!c->gone) {
            add_event(&c->out, c->step);
            if (++c->step == event_count) {
                const Text *text = c->usage ? &last_with_usage : &last;
                add(&c->out, text->data, text->len);
                ends = true;
            }
        }
        if (!ends) {
            c->due += interval;
            enqueue(c);
            flush(c);
            continue;
        }
        c->streaming = false;
        running[c->endpoint]--;
        if (c->gone) hang_up(c);
        else serve(c);
    }
    return first_stream ? (int)((first_stream->due - now + 999999) / 1000000) : -1;
}

static void accept_all(Conn *listener) {
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Conn *c = calloc(1, sizeof *c);
        if (!c) fail("memory");
        c->fd = fd;
        c->endpoint = listener->endpoint;
        watch(c, EPOLL_CTL_ADD, false);
    }
}

/* The port that was bound, 0 when it is taken on this address. */
static int listen_on(const char *address, int port, int endpoint) {
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &where.sin_addr) != 1) { errno = EINVAL; fail(address); }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&where, sizeof where) < 0 || listen(fd, 4096) < 0) {
        if (errno != EADDRINUSE) fail(address);
        close(fd);
        return 0;
    }
    socklen_t len = sizeof where;
    getsockname(fd, (struct sockaddr *)&where, &len);
    Conn *c = calloc(1, sizeof *c);
    if (!c) fail("memory");
    *c = (Conn){.fd = fd, .endpoint = endpoint, .listener = true};
    watch(c, EPOLL_CTL_ADD, false);
    return ntohs(where.sin_port);
}

int main(int argc, char **argv) {
    int endpoints = argc - 4;
    if (endpoints < 1 || endpoints > MAX_ENDPOINTS) {
        fprintf(stderr, "usage: backend DIR PORT INTERVAL_MS ADDRESS... (1 to %d)\n", MAX_ENDPOINTS);
        return 2;
    }
    interval = (int64_t)(atof(argv[3]) * 1e6);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll");
    prepare(argv[1], endpoints);
    int port = atoi(argv[2]);
    for (int i = 0; i < endpoints; i++) {
        if (!(port = listen_on(argv[4 + i], port, i))) {
            fprintf(stderr, "backend: the port is taken on %s\n", argv[4 + i]);
            return 3; /* the one who started us may try again */
        }
    }
    printf("%d\n", port);
    fflush(stdout);
    struct epoll_event found[MAX_EVENTS];
    for (;;) {
        int n = epoll_wait(epoll_fd, found, MAX_EVENTS, step_streams());
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            Conn *c = found[i].data.ptr;
            if (c->listener) { accept_all(c); continue; }
            if (found[i].events & EPOLLOUT && !flush(c)) continue;
            if (found[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
        }
    }
}
