#define _GNU_SOURCE
#include "callers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "device.h"

/* A request and what it is about; in `queue` until a connection is free. */
struct request {
    struct request *next;
    int64_t due_ns, sent_ns;
    size_t count, length;
    uint32_t *devices;
    char *text;
};

struct queue {
    struct request *first, **last;
};

struct caller {
    struct source source;
    size_t api;
    bool dialling;
    struct request *request; /* NULL: free */
    struct bytes in, out;
};

static struct offer offer;
static struct caller *callers;
static size_t caller_count, waiting;
static struct queue queues[16];
static uint64_t next_request;
static struct record newest;

size_t callers_waiting(void) { return waiting; }

struct record callers_newest(void) { return newest; }

int64_t callers_due(void) {
    if (next_request >= offer.total) return INT64_MAX;
    return offer.begin_ns + (int64_t)((double)(next_request * offer.batch) / offer.rate * 1e9);
}

/* ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────── */

static char *put(char *at, struct text text) {
    memcpy(at, text.at, text.length);
    return at + text.length;
}

static char *put_message(char *at, struct text device) {
    static const char *const priorities[] = {"urgent", "high", "normal", "low"};
    at = put(at, TEXT("{\"target\":{\"device\":"));
    at = json_quote(at, device);
    at = put(at, TEXT("},\"title\":\"Order 1207\",\"body\":\"Pick up at the corner shop, two bags\",\"data\":{\"order\":\"1207-33\",\"step\":\"pickup\"},"
                      "\"priority\":\""));
    const char *priority = priorities[chance() >> 62];
    at = put(at, (struct text){priority, strlen(priority)});
    return put(at, TEXT("\"}"));
}

static struct request *make(int64_t due_ns, size_t api) {
    struct request *request = malloc(sizeof *request);
    uint32_t *devices = malloc(offer.batch * sizeof *devices);
    if (!request || !devices) give_up("out of memory");
    size_t room = 1024;
    for (size_t i = 0; i < offer.batch; i++) {
        devices[i] = (uint32_t)(chance() % crowd.count);
        room += 256 + 6 * crowd.devices[devices[i]].name.length;
    }
    char *text = malloc(room), *body = text + 700, *at = body;
    if (!text) give_up("out of memory");
    if (offer.batch > 1) at = put(at, TEXT("{\"messages\":["));
    for (size_t i = 0; i < offer.batch; i++) {
        if (i) *at++ = ',';
        at = put_message(at, crowd.devices[devices[i]].name);
    }
    if (offer.batch > 1) at = put(at, TEXT("]}"));
    char head[700];
    struct text host = offer.apis[api].host;
    int length = snprintf(head, sizeof head,
                          "POST /v1/messages%s HTTP/1.1\r\nHost: %.*s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n",
                          offer.batch > 1 ? ":batch" : "", (int)host.length, host.at, offer.key, (size_t)(at - body));
    if (length >= (int)sizeof head) give_up("the API's address or key is too long");
    /* The body was written first, since the head says how long it is. */
    memcpy(text, head, (size_t)length);
    memmove(text + length, body, (size_t)(at - body));
    *request = (struct request){NULL, due_ns, 0, offer.batch, (size_t)length + (size_t)(at - body), devices, text};
    return request;
}

static void forget(struct caller *caller) {
    free(caller->request->devices);
    free(caller->request->text);
    free(caller->request);
    caller->request = NULL;
    waiting--;
}

/* ── answers ────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void refused(struct request *request, struct text code) {
    tally_add(&counters.refused, code, request->count);
}

/* One {"id":…} or {"error":{"code":…}}. */
static bool result(struct json *json, struct request *request, size_t place) {
    struct text key, text = {0}, id = {0}, code = {0};
    for (int more = json_open(json, '{', &key); more; more = json_more(json, '{', &key)) {
        if (more < 0) return false;
        if (text_is(key, "id") && json_peek(json) == '"') {
            if (!json_text(json, &id)) return false;
        } else if (text_is(key, "error") && json_peek(json) == '{') {
            for (int inner = json_open(json, '{', &text); inner; inner = json_more(json, '{', &text))
                if (inner < 0 || !(text_is(text, "code") ? json_text(json, &code) : json_skip(json))) return false;
        } else if (!json_skip(json)) {
            return false;
        }
    }
    struct json digits = {id.at, id.at + id.length};
    uint64_t number;
    if (!id.length) {
        tally_add(&counters.refused, code.length ? code : TEXT("unnamed"), 1);
        return true;
    }
    if (!json_number(&digits, &number) || digits.at != digits.end) return false;
    newest = (struct record){number, request->due_ns, request->devices[place], 0};
    counters.accepted++;
    log_add(&accepted_log, newest);
    return true;
}

static bool results(struct json json, struct request *request) {
    if (offer.batch == 1) return result(&json, request, 0);
    struct text key;
    for (int more = json_open(&json, '{', &key); more; more = json_more(&json, '{', &key)) {
        if (more < 0) return false;
        if (!text_is(key, "results")) {
            if (!json_skip(&json)) return false;
            continue;
        }
        size_t place = 0;
        for (int item = json_open(&json, '[', &key); item; item = json_more(&json, '[', &key))
            if (item < 0 || place == request->count || !result(&json, request, place++)) return false;
        return place == request->count;
    }
    return false;
}

static void start(struct caller *caller);

static void answered(struct caller *caller, int status, struct json body) {
    struct request *request = caller->request;
    char code[16];
    if (status != 202) {
        refused(request, (struct text){code, (size_t)snprintf(code, sizeof code, "http %d", status)});
    } else if (!results(body, request)) {
        refused(request, TEXT("unreadable"));
    }
    forget(caller);
}

static void broke(struct caller *caller) {
    hang_up(&caller->source);
    caller->in.length = caller->out.length = 0;
    if (caller->request) {
        counters.unanswered += caller->request->count; /* whether it was handled is unknown */
        forget(caller);
    }
}

/* The value of a header of an answer's head; empty without. */
static struct text header(struct text head, const char *name) {
    size_t length = strlen(name);
    for (const char *line = head.at; (line = memmem(line, (size_t)(head.at + head.length - line), "\r\n", 2));) {
        line += 2;
        size_t left = (size_t)(head.at + head.length - line);
        if (left > length && strncasecmp(line, name, length) == 0 && line[length] == ':') {
            const char *at = line + length + 1, *end = memmem(at, left - length - 1, "\r\n", 2);
            while (at < end && *at == ' ') at++;
            return (struct text){at, (size_t)(end - at)};
        }
    }
    return (struct text){"", 0};
}

static void read_answer(struct caller *caller) {
    struct bytes *in = &caller->in;
    const char *end = memmem(in->at, in->length, "\r\n\r\n", 4);
    if (!end) return;
    struct text head = {in->at, (size_t)(end - in->at) + 2};
    if (head.length < 12 || memcmp(head.at, "HTTP/1.", 7) != 0 || !caller->request) return broke(caller);
    struct text length_text = header(head, "content-length");
    struct json digits = {length_text.at, length_text.at + length_text.length};
    uint64_t length = 0;
    if (!json_number(&digits, &length)) return broke(caller);
    size_t start_at = head.length + 2;
    if (in->length - start_at < length) return;
    bool closes = text_is(header(head, "connection"), "close");
    struct json body = {in->at + start_at, in->at + start_at + length};
    answered(caller, atoi(head.at + 9), body);
    bytes_drop(in, start_at + length);
    if (closes) broke(caller);
    start(caller);
}

/* ── connections ────────────────────────────────────────────────────────────────────────────────────────────────── */

static void flush(struct caller *caller) {
    if (!send_some(caller->source.fd, &caller->out)) {
        broke(caller);
        return start(caller);
    }
    watch_again(&caller->source, EPOLLIN | (caller->out.length ? EPOLLOUT : 0));
}

static void ready(struct source *source, uint32_t events) {
    struct caller *caller = (struct caller *)source;
    if (events & EPOLLOUT) {
        if (caller->dialling) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) {
                broke(caller);
                return start(caller);
            }
            caller->dialling = false;
        }
        flush(caller);
        if (caller->source.fd < 0) return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = recv(source->fd, bytes_room(&caller->in, 65536), 65536, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        broke(caller);
        return start(caller);
    }
    caller->in.length += (size_t)got;
    read_answer(caller);
}

/* Take the next request, if there is one and the caller is free. */
static void start(struct caller *caller) {
    struct queue *queue = &queues[caller->api];
    while (!caller->request && queue->first) {
        struct request *request = caller->request = queue->first;
        queue->first = request->next;
        if (!queue->first) queue->last = &queue->first;
        request->sent_ns = now_ns();
        caller->out.length = 0;
        bytes_add(&caller->out, request->text, request->length);
        if (caller->source.fd < 0) {
            caller->source.fd = dial(&offer.apis[caller->api]);
            caller->dialling = true;
            if (caller->source.fd < 0) broke(caller);
            else watch(&caller->source, EPOLLIN | EPOLLOUT);
        } else if (!send_some(caller->source.fd, &caller->out)) {
            broke(caller);
        } else if (caller->out.length) {
            watch_again(&caller->source, EPOLLIN | EPOLLOUT);
        }
    }
}

void callers_begin(const struct offer *wished) {
    for (size_t i = 0; i < caller_count; i++) {
        broke(&callers[i]);
        bytes_free(&callers[i].in);
        bytes_free(&callers[i].out);
    }
    free(callers);
    offer = *wished;
    next_request = 0;
    caller_count = offer.api_count * offer.connections;
    callers = calloc(caller_count, sizeof *callers);
    if (!callers) give_up("out of memory");
    for (size_t i = 0; i < offer.api_count; i++) queues[i] = (struct queue){NULL, &queues[i].first};
    for (size_t i = 0; i < caller_count; i++) callers[i] = (struct caller){.source = {-1, ready}, .api = i % offer.api_count};
}

void callers_send(int64_t now) {
    for (int64_t due; (due = callers_due()) <= now;) {
        size_t api = next_request++ % offer.api_count;
        lags_add(&counters.lags, now - due);
        struct request *request = make(due, api);
        counters.offered += request->count;
        waiting++;
        *queues[api].last = request;
        queues[api].last = &request->next;
        /* The one that was used last is the likeliest to be open, but it makes no difference here. */
        for (size_t i = api; i < caller_count && queues[api].first; i += offer.api_count)
            if (!callers[i].request) start(&callers[i]);
        now = now_ns(); /* making a batch takes its time */
    }
}

void callers_tick(int64_t now) {
    for (size_t i = 0; i < caller_count; i++) {
        struct caller *caller = &callers[i];
        if (caller->request && caller->request->sent_ns + offer.timeout_ns <= now) {
            broke(caller);
            start(caller);
        }
    }
}
