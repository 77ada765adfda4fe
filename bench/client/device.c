#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct crowd crowd;

enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { LONGEST = 1 << 20, AT_ONCE = 1 << 18, HEAD = 16384 };

/* RFC 6455 §1.3 works this pair out. The key is for proxies' sake, and there is none between us and the gateway. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static char buffer[LONGEST + 16 + AT_ONCE]; /* an incomplete frame and what follows it */
static struct frames frames;

/* ── ids ────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static bool ids_put(uint64_t *at, uint32_t room, uint64_t id) {
    uint32_t place = (uint32_t)((id * 0x9e3779b97f4a7c15) >> 32) & (room - 1);
    while (at[place]) {
        if (at[place] == id) return false;
        place = (place + 1) & (room - 1);
    }
    at[place] = id;
    return true;
}

/* Whether it is new. */
static bool ids_add(struct ids *ids, uint64_t id) {
    if (ids->count * 2 >= ids->room) {
        uint32_t room = ids->room ? ids->room * 2 : 16;
        uint64_t *at = calloc(room, sizeof *at);
        if (!at) give_up("out of memory");
        for (uint32_t i = 0; i < ids->room; i++)
            if (ids->at[i]) ids_put(at, room, ids->at[i]);
        free(ids->at);
        ids->at = at;
        ids->room = room;
    }
    bool is_new = ids_put(ids->at, ids->room, id);
    ids->count += is_new;
    return is_new;
}

/* ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void ended(struct device *device, struct text code, const char *why) {
    enum device_state was = device->state;
    if (was == DEVICE_OFFLINE) return;
    hang_up(&device->source);
    device->state = DEVICE_OFFLINE;
    bytes_free(&device->in);
    bytes_free(&device->out);
    if (was == DEVICE_LIVE) {
        crowd.live--;
        tally_add(&counters.ended, code, 1);
        return;
    }
    crowd.under_way--;
    if (!crowd.failed++) snprintf(crowd.why, sizeof crowd.why, "%.*s: %s %.*s", (int)device->name.length, device->name.at, why, (int)code.length, code.at);
    crowd_sign_in();
}

static void lost(struct device *device, const char *why) { ended(device, TEXT("lost"), why); }

static void ended_with(struct device *device, uint64_t code, const char *why) {
    char digits[24];
    struct text text = {digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)code)};
    ended(device, text, why);
}

/* ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void flush(struct device *device) {
    bool waited = device->state == DEVICE_DIALLING;
    if (!send_some(device->source.fd, &device->out)) return lost(device, "the connection broke");
    if (device->out.length || waited) watch_again(&device->source, EPOLLIN | (device->out.length ? EPOLLOUT : 0));
}

static void send_bytes(struct device *device, const char *at, size_t length) {
    if (!device->out.length) {
        ssize_t sent = send(device->source.fd, at, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length) return;
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return lost(device, strerror(errno));
        if (sent > 0) at += sent, length -= (size_t)sent;
    }
    bytes_add(&device->out, at, length);
    watch_again(&device->source, EPOLLIN | EPOLLOUT);
}

/* `payload` has 14 free bytes before it, and is masked where it stands. */
static void send_frame(struct device *device, int opcode, char *payload, size_t length) {
    union {
        char bytes[8];
        uint64_t word;
    } mask;
    uint32_t half = (uint32_t)chance();
    memcpy(mask.bytes, &half, 4);
    memcpy(mask.bytes + 4, &half, 4);
    size_t i = 0;
    for (uint64_t word; i + 8 <= length; i += 8) {
        memcpy(&word, payload + i, 8);
        word ^= mask.word;
        memcpy(payload + i, &word, 8);
    }
    for (; i < length; i++) payload[i] ^= mask.bytes[i & 3];
    char *at = payload - 4;
    memcpy(at, mask.bytes, 4);
    if (length < 126) {
        *--at = (char)(0x80 | length);
    } else if (length < 65536) {
        *--at = (char)length;
        *--at = (char)(length >> 8);
        *--at = (char)(0x80 | 126);
    } else {
        for (int shift = 0; shift < 64; shift += 8) *--at = (char)((uint64_t)length >> shift);
        *--at = (char)(0x80 | 127);
    }
    *--at = (char)(0x80 | opcode);
    send_bytes(device, at, (size_t)(payload + length - at));
}

static int opcode(void) { return crowd.codec == CODEC_PROTO ? OP_BINARY : OP_TEXT; }

static void send_acks(struct device *device, const uint64_t *ids, size_t count, bool undecodable) {
    char message[14 + ACK_BYTES];
    if (!count || device->state != DEVICE_LIVE) return;
    send_frame(device, opcode(), message + 14, frames_ack(crowd.codec, ids, count, undecodable, message + 14));
    counters.acked += count;
}

static void send_close(struct device *device, const char *code) {
    char message[16];
    memcpy(message + 14, code, 2);
    send_frame(device, OP_CLOSE, message + 14, 2);
}

/* ── signing in ─────────────────────────────────────────────────────────────────────────────────────────────────── */

static void ask_upgrade(struct device *device) {
    struct text host = crowd.gateways[device->gateway].host;
    char request[512];
    int length = snprintf(request, sizeof request,
                          "GET /v1/connect HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " KEY
                          "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: taco.v1+%s\r\n\r\n",
                          (int)host.length, host.at, crowd.codec == CODEC_PROTO ? "proto" : "json");
    bytes_add(&device->out, request, (size_t)length);
    flush(device);
    if (device->state == DEVICE_DIALLING) device->state = DEVICE_UPGRADING;
}

static void say_hello(struct device *device) {
    char install[140];
    int length = snprintf(install, sizeof install, "wire-%.*s", (int)device->name.length, device->name.at);
    struct hello hello = {device->app, device->name, device->token, {install, length > 128 ? 128 : (size_t)length}, ++device->attempt};
    struct bytes message = {0};
    char *payload = bytes_room(&message, 14 + 512 + 6 * (hello.app.length + hello.device.length + hello.token.length + hello.install.length)) + 14;
    device->state = DEVICE_GREETING;
    send_frame(device, opcode(), payload, frames_hello(crowd.codec, &hello, payload));
    bytes_free(&message);
}

/* How many bytes the head takes; 0: it is not complete, or was refused. */
static size_t upgraded(struct device *device, const char *at, size_t length) {
    const char *end = memmem(at, length, "\r\n\r\n", 4);
    if (!end) {
        if (length > HEAD) lost(device, "the answer to the upgrade is too long");
        return 0;
    }
    size_t head = (size_t)(end - at) + 4;
    if (length < 12 || memcmp(at, "HTTP/1.1 101", 12) != 0) {
        ended(device, (struct text){at, (size_t)((const char *)memchr(at, '\r', head) - at)}, "the upgrade was refused:");
        return 0;
    }
    if (!memmem(at, head, ACCEPT, sizeof ACCEPT - 1)) {
        lost(device, "not a WebSocket server");
        return 0;
    }
    say_hello(device);
    return head;
}

static void welcomed(struct device *device, const struct frame *frame) {
    if (device->state != DEVICE_GREETING) return;
    device->state = DEVICE_LIVE;
    device->next_s = frame->next;
    /* Spread, or all would ping in the second in which all signed in. */
    device->ping_ns = now_ns() + (int64_t)(chance() % (frame->next * 1000000000ull + 1));
    crowd.live++;
    crowd.under_way--;
    counters.signed_in++;
    crowd_sign_in();
}

void crowd_sign_in(void) {
    static bool busy; /* a dial that fails at once comes back here */
    if (busy) return;
    busy = true;
    while (crowd.under_way < crowd.at_once && crowd.begun < crowd.count) {
        struct device *device = &crowd.devices[crowd.begun++];
        device->state = DEVICE_DIALLING;
        device->since_ns = now_ns();
        crowd.under_way++;
        device->source.fd = dial(&crowd.gateways[device->gateway]);
        if (device->source.fd < 0) lost(device, strerror(errno));
        else watch(&device->source, EPOLLIN | EPOLLOUT);
    }
    busy = false;
}

bool crowd_signed_in(void) { return crowd.begun == crowd.count && !crowd.under_way; }

/* ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct acks {
    uint64_t ids[ACK_IDS];
    size_t count;
};

static void ack(struct device *device, struct acks *acks, uint64_t id, bool undecodable) {
    acks->ids[acks->count++] = id;
    if (acks->count == ACK_IDS) {
        send_acks(device, acks->ids, acks->count, undecodable);
        acks->count = 0;
    }
}

static void handle(struct device *device, const struct frame *frame, int64_t now, struct acks *received, struct acks *undecodable) {
    switch (frame->type) {
    case FRAME_PUSH: {
        bool is_new = ids_add(&device->shown, frame->id);
        counters.pushes++;
        counters.shown += is_new;
        counters.repeats += !is_new;
        counters.again += frame->again;
        log_add(&seen_log, (struct record){frame->id, now, device->number, (is_new ? RECORD_NEW : 0) | (frame->again ? RECORD_AGAIN : 0)});
        ack(device, received, frame->id, false);
        break;
    }
    case FRAME_UNDECODABLE:
        counters.undecodable++;
        ack(device, undecodable, frame->id, true);
        break;
    case FRAME_RECALL:
        counters.recalls++;
        ids_add(&device->shown, frame->id);
        break;
    case FRAME_WELCOME: welcomed(device, frame); break;
    case FRAME_BYE:
        send_close(device, "\x03\xe8");
        ended_with(device, frame->code, "bye");
        break;
    default: break;
    }
}

/* Whether to read on. */
static bool take(struct device *device, int op, char *payload, size_t length, int64_t now, struct acks *received, struct acks *undecodable) {
    if (op == opcode()) {
        if (!frames_read(crowd.codec, payload, length, &frames)) {
            counters.unreadable++;
            send_close(device, "\x03\xe8");
            lost(device, frames.error);
            return false;
        }
        for (size_t i = 0; i < frames.count && device->state != DEVICE_OFFLINE; i++) handle(device, &frames.at[i], now, received, undecodable);
    } else if (op == OP_PING) {
        char message[14 + 125];
        memcpy(message + 14, payload, length);
        send_frame(device, OP_PONG, message + 14, length);
    } else if (op == OP_CLOSE) {
        uint64_t code = length >= 2 ? (uint64_t)(unsigned char)payload[0] << 8 | (unsigned char)payload[1] : 0;
        if (length >= 2) send_close(device, payload);
        if (code) ended_with(device, code, "closed");
        else lost(device, "closed");
    } else if (op != OP_PONG) {
        lost(device, "a frame that the subprotocol has no use for");
    }
    return device->state != DEVICE_OFFLINE;
}

static void read_frames(struct device *device, size_t at, size_t end, int64_t now) {
    static struct acks received, undecodable; /* one device at a time */
    received.count = undecodable.count = 0;
    while (end - at >= 2) {
        const unsigned char *head = (const unsigned char *)buffer + at;
        size_t start = at + 2;
        uint64_t length = head[1];
        if (length == 126 || length == 127) {
            int size = length == 126 ? 2 : 8;
            start += (size_t)size;
            if (start > end) break;
            length = 0;
            for (int i = 0; i < size; i++) length = length << 8 | head[2 + i];
        }
        bool is_control = head[0] & 8;
        if (head[1] & 0x80 || !(head[0] & 0x80) || head[0] & 0x70 || length > LONGEST || (is_control && length > 125))
            return lost(device, "a frame that is too long, fragmented, masked or extended");
        if (length > end - start) break;
        at = start + length;
        if (!take(device, head[0] & 15, buffer + start, length, now, &received, &undecodable)) return;
    }
    /* What one read brought is acked with one frame, as the SDK does. */
    send_acks(device, received.ids, received.count, false);
    send_acks(device, undecodable.ids, undecodable.count, true);
    if (device->state == DEVICE_OFFLINE) return;
    device->in.length = 0;
    if (end > at) bytes_add(&device->in, buffer + at, end - at);
    else if (device->in.room) bytes_free(&device->in);
}

static void ready(struct source *source, uint32_t events) {
    struct device *device = (struct device *)source;
    if (events & EPOLLOUT) {
        if (device->state == DEVICE_DIALLING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) return lost(device, strerror(error));
            return ask_upgrade(device);
        }
        flush(device);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || device->state == DEVICE_OFFLINE) return;
    size_t kept = device->in.length, at = 0;
    if (kept) memcpy(buffer, device->in.at, kept);
    ssize_t got = recv(source->fd, buffer + kept, AT_ONCE, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        return lost(device, got ? strerror(errno) : "the connection was closed");
    }
    int64_t now = now_ns();
    size_t end = kept + (size_t)got;
    if (device->state == DEVICE_UPGRADING) {
        at = upgraded(device, buffer, end);
        if (device->state == DEVICE_OFFLINE) return;
        if (!at) {
            device->in.length = 0;
            return bytes_add(&device->in, buffer, end);
        }
    }
    read_frames(device, at, end, now);
}

/* ── all of them ────────────────────────────────────────────────────────────────────────────────────────────────── */

static struct text up_to(char **at, char end) {
    char *stop = strchr(*at, end);
    if (!stop) give_up("the list of devices: a line is app, device, token and the gateway's place, with tabs between");
    struct text text = {*at, (size_t)(stop - *at)};
    *at = stop + 1;
    return text;
}

void crowd_read(struct text path) {
    char name[4096];
    if (path.length >= sizeof name) give_up("the list of devices: its path is too long");
    memcpy(name, path.at, path.length);
    name[path.length] = 0;
    FILE *file = fopen(name, "r");
    if (!file) give_up("the list of devices: %s: %s", name, strerror(errno));
    struct bytes all = {0};
    for (size_t got; (got = fread(bytes_room(&all, 65536), 1, 65536, file)) > 0;) all.length += got;
    fclose(file);
    *bytes_room(&all, 1) = 0;
    size_t lines = 0;
    for (char *at = all.at; (at = strchr(at, '\n')); at++) lines++;
    crowd.devices = calloc(lines + 1, sizeof *crowd.devices);
    if (!crowd.devices) give_up("out of memory");
    char *at = all.at;
    for (crowd.count = 0; crowd.count < lines; crowd.count++) {
        struct device *device = &crowd.devices[crowd.count];
        device->source = (struct source){-1, ready};
        device->number = (uint32_t)crowd.count;
        device->app = up_to(&at, '\t');
        device->name = up_to(&at, '\t');
        device->token = up_to(&at, '\t');
        device->gateway = (uint32_t)strtoul(up_to(&at, '\n').at, NULL, 10);
        if (device->gateway >= crowd.gateway_count) give_up("the list of devices: there is no gateway %u", device->gateway);
    }
}

void crowd_tick(int64_t now) {
    for (size_t i = 0; i < crowd.begun; i++) {
        struct device *device = &crowd.devices[i];
        if (device->state == DEVICE_LIVE && device->ping_ns <= now) {
            char message[14 + 16];
            device->ping_ns = now + (int64_t)device->next_s * 1000000000;
            send_frame(device, opcode(), message + 14, frames_ping(crowd.codec, message + 14));
        } else if (device->state != DEVICE_LIVE && device->state != DEVICE_OFFLINE && device->since_ns + crowd.timeout_ns <= now) {
            lost(device, "no welcome in time");
        }
    }
}

void crowd_close(void) {
    crowd.begun = crowd.count;
    for (size_t i = 0; i < crowd.count; i++) {
        struct device *device = &crowd.devices[i];
        if (device->state == DEVICE_LIVE) send_close(device, "\x03\xe8");
        if (device->state != DEVICE_OFFLINE) ended_with(device, 1000, "closed by the device");
    }
}
