#include "frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t MAX_ID = INT64_MAX;

static const char *const NAMES[] = {
    "unknown", "welcome", "push", "undecodable", "recall", "pong", "reply", "config", "migrate", "error", "bye",
};

const char *frame_name(enum frame_type type) { return NAMES[type]; }

static struct frame *add(struct frames *frames) {
    if (frames->count == frames->room) {
        frames->room = frames->room ? frames->room * 2 : 64;
        frames->at = realloc(frames->at, frames->room * sizeof *frames->at);
        if (!frames->at) abort();
    }
    struct frame *frame = &frames->at[frames->count++];
    *frame = (struct frame){.next = 240, .window = 32};
    return frame;
}

static bool refuse(struct frames *frames, const char *error) {
    frames->error = error;
    return false;
}

static bool is_object(const char *at, size_t length) {
    struct json json = {at, at + length};
    return json_peek(&json) == '{' && json_skip(&json) && json_over(&json);
}

/* What a frame must have, whatever its codec. */
static bool complete(struct frames *frames, const struct frame *frame, bool versioned, bool keyed) {
    switch (frame->type) {
    case FRAME_PUSH:
    case FRAME_UNDECODABLE:
    case FRAME_RECALL: return (frame->id != 0 && frame->id <= MAX_ID) || refuse(frames, "a push or recall without an id");
    case FRAME_WELCOME: return versioned || refuse(frames, "a welcome without a version");
    case FRAME_BYE: return frame->code != 0 || refuse(frames, "a bye without a code");
    case FRAME_CONFIG:
    case FRAME_ERROR: return keyed || refuse(frames, "a config without a key, or an error without a code");
    case FRAME_REPLY: return frame->id != 0 || refuse(frames, "a reply without an id");
    default: return true;
    }
}

/* ── protobuf ───────────────────────────────────────────────────────────────────────────────────────────────────── */

struct wire {
    const unsigned char *at, *end;
};

struct field {
    uint64_t number, value; /* value: of a varint, fixed32 or fixed64 */
    int kind;
    struct wire inside; /* of a length-delimited one */
};

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static bool varint(struct wire *wire, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && wire->at < wire->end; shift += 7) {
        unsigned char byte = *wire->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool fixed(struct wire *wire, int bytes, uint64_t *value) {
    if (wire->end - wire->at < bytes) return false;
    *value = 0;
    for (int i = 0; i < bytes; i++) *value |= (uint64_t)wire->at[i] << (8 * i);
    wire->at += bytes;
    return true;
}

static bool field_of(struct wire *wire, struct field *field) {
    uint64_t tag, length;
    if (!varint(wire, &tag) || tag >> 3 == 0) return false;
    field->number = tag >> 3;
    field->kind = (int)(tag & 7);
    switch (field->kind) {
    case VARINT: return varint(wire, &field->value);
    case FIXED64: return fixed(wire, 8, &field->value);
    case FIXED32: return fixed(wire, 4, &field->value);
    case BYTES:
        if (!varint(wire, &length) || length > (uint64_t)(wire->end - wire->at)) return false;
        field->inside = (struct wire){wire->at, wire->at + length};
        wire->at += length;
        return true;
    default: return false;
    }
}

static enum frame_type proto_type(uint64_t number) {
    static const enum frame_type types[] = {FRAME_WELCOME, FRAME_PUSH,    FRAME_RECALL, FRAME_PONG, FRAME_REPLY,
                                            FRAME_CONFIG,  FRAME_MIGRATE, FRAME_ERROR,  FRAME_BYE};
    return number >= 8 && number <= 16 ? types[number - 8] : FRAME_UNKNOWN;
}

static bool proto_fields(struct frames *frames, struct frame *frame, struct wire wire) {
    bool versioned = false, keyed = false;
    struct field field;
    while (wire.at < wire.end) {
        if (!field_of(&wire, &field)) return refuse(frames, "not a Frames message");
        bool number = field.kind == VARINT, bytes = field.kind == BYTES;
        switch (frame->type) {
        case FRAME_PUSH:
        case FRAME_UNDECODABLE:
            if (field.number == 1 && field.kind == FIXED64) frame->id = field.value;
            else if (field.number == 8 && number) frame->sent = field.value;
            else if (field.number == 10 && number) frame->again = field.value != 0;
            else if (field.number == 11 && number) frame->via_vendor = field.value != 0;
            else if (field.number == 5 && bytes && field.inside.at < field.inside.end &&
                     !is_object((const char *)field.inside.at, (size_t)(field.inside.end - field.inside.at)))
                frame->type = FRAME_UNDECODABLE;
            break;
        case FRAME_RECALL:
            if (field.number == 1 && field.kind == FIXED64) frame->id = field.value;
            break;
        case FRAME_WELCOME:
            if (field.number == 1 && number) versioned = field.value != 0;
            else if (field.number == 5 && number) frame->window = field.value;
            else if (field.number == 4 && bytes)
                for (struct wire beat = field.inside; beat.at < beat.end;) {
                    if (!field_of(&beat, &field)) return refuse(frames, "not a Frames message");
                    if (field.number == 4 && field.kind == VARINT) frame->next = field.value;
                }
            break;
        case FRAME_BYE:
            if (field.number == 1 && number) frame->code = field.value;
            else if (field.number == 2 && bytes)
                frame->reason = (struct text){(const char *)field.inside.at, (size_t)(field.inside.end - field.inside.at)};
            break;
        case FRAME_REPLY:
            if (field.number == 1 && number) frame->id = field.value;
            break;
        case FRAME_PONG:
            if (field.number == 2 && number && field.value == 0) return refuse(frames, "pong.next");
            break;
        case FRAME_CONFIG:
        case FRAME_ERROR:
            if (field.number == 1 && bytes) keyed = field.inside.at < field.inside.end;
            break;
        default: break;
        }
    }
    return complete(frames, frame, versioned, keyed);
}

static bool proto_read(const char *message, size_t length, struct frames *frames) {
    struct wire wire = {(const unsigned char *)message, (const unsigned char *)message + length};
    struct field field, type;
    while (wire.at < wire.end) {
        if (!field_of(&wire, &field)) return refuse(frames, "not a Frames message");
        if (field.number != 1 || field.kind != BYTES) continue;
        struct wire inside = field.inside, fields = {NULL, NULL};
        struct frame *frame = NULL;
        while (inside.at < inside.end) { /* a oneof: the last one counts */
            if (!field_of(&inside, &type)) return refuse(frames, "not a Frames message");
            if (type.kind != BYTES) continue;
            if (!frame) frame = add(frames);
            frame->type = proto_type(type.number);
            fields = type.inside;
        }
        if (!frame) return refuse(frames, "a frame without a type");
        if (!proto_fields(frames, frame, fields)) return false;
    }
    return frames->count > 0 || refuse(frames, "no frame");
}

static char *put_varint(char *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) *out++ = (char)(value | 0x80);
    *out++ = (char)value;
    return out;
}

static size_t varint_size(uint64_t value) {
    size_t size = 1;
    for (; value >= 0x80; value >>= 7) size++;
    return size;
}

static char *put_text(char *out, char tag, struct text text) {
    *out++ = tag;
    out = put_varint(out, text.length);
    memcpy(out, text.at, text.length);
    return out + text.length;
}

/* Moves what was written at `body` behind the two lengths that it needs: Frames { frame { type { body } } }. */
static size_t put_frame(char *out, int type, const char *body, size_t length) {
    char *at = out;
    *at++ = 0x0a;
    at = put_varint(at, 1 + varint_size(length) + length);
    *at++ = (char)(type << 3 | BYTES);
    at = put_varint(at, length);
    memcpy(at, body, length);
    return (size_t)(at - out) + length;
}

static size_t proto_hello(const struct hello *hello, char *out) {
    size_t texts = hello->app.length + hello->device.length + hello->token.length + hello->install.length;
    char *body = malloc(texts + 128), *at = body;
    if (!body) abort();
    at = put_text(at, 0x0a, hello->app);
    at = put_text(at, 0x12, hello->device);
    at = put_text(at, 0x1a, hello->token);
    at = put_text(at, 0x22, TEXT("\x01")); /* versions: [1] */
    if (hello->install.length) at = put_text(at, 0x2a, hello->install);
    if (hello->attempt) {
        *at++ = 0x30;
        at = put_varint(at, hello->attempt);
    }
    size_t length = put_frame(out, 1, body, (size_t)(at - body));
    free(body);
    return length;
}

static size_t proto_ack(const uint64_t *ids, size_t count, bool undecodable, char *out) {
    char body[ACK_BYTES], *at = body;
    *at++ = 0x0a;
    at = put_varint(at, 8 * count);
    for (size_t i = 0; i < count; i++)
        for (int shift = 0; shift < 64; shift += 8) *at++ = (char)(ids[i] >> shift);
    if (undecodable) at = put_text(at, 0x12, TEXT("undecodable"));
    return put_frame(out, 2, body, (size_t)(at - body));
}

/* ── JSON ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static bool json_id(struct json *json, uint64_t *id) {
    struct text text;
    if (!json_text(json, &text) || text.length == 0 || text.length > 19 || text.at[0] == '0') return false;
    struct json digits = {text.at, text.at + text.length};
    return text.at[0] >= '1' && text.at[0] <= '9' && json_number(&digits, id) && digits.at == digits.end && *id <= MAX_ID;
}

enum read { READ, SKIPPED, WRONG };

/* One field that is not null. SKIPPED: not one that is of interest, the cursor is where it was. */
static enum read json_field(struct json *json, struct frame *frame, struct text key) {
    struct text text;
    bool is_push = frame->type == FRAME_PUSH || frame->type == FRAME_UNDECODABLE;
    if ((is_push || frame->type == FRAME_RECALL) && text_is(key, "id")) return json_id(json, &frame->id) ? READ : WRONG;
    if (is_push) {
        if (text_is(key, "sent")) return json_number(json, &frame->sent) ? READ : WRONG;
        if (text_is(key, "again")) return json_true_or_false(json, &frame->again) ? READ : WRONG;
        if (text_is(key, "via_vendor")) return json_true_or_false(json, &frame->via_vendor) ? READ : WRONG;
        bool wrong = false;
        if (text_is(key, "data")) wrong = json_peek(json) != '{';
        else if (text_is(key, "title") || text_is(key, "body") || text_is(key, "kind") || text_is(key, "collapse") ||
                 text_is(key, "priority"))
            wrong = json_peek(json) != '"';
        if (wrong) frame->type = FRAME_UNDECODABLE;
        return SKIPPED;
    }
    if (frame->type == FRAME_BYE && text_is(key, "code")) return json_number(json, &frame->code) ? READ : WRONG;
    if (frame->type == FRAME_BYE && text_is(key, "reason")) return json_text(json, &frame->reason) ? READ : WRONG;
    if (frame->type == FRAME_REPLY && text_is(key, "id")) return json_number(json, &frame->id) ? READ : WRONG;
    if (frame->type == FRAME_PONG && text_is(key, "next")) {
        uint64_t next;
        return json_number(json, &next) && next > 0 ? READ : WRONG;
    }
    if (frame->type == FRAME_WELCOME && text_is(key, "window")) return json_number(json, &frame->window) ? READ : WRONG;
    if (frame->type == FRAME_WELCOME && text_is(key, "heartbeat")) {
        for (int more = json_open(json, '{', &text); more; more = json_more(json, '{', &text)) {
            if (more < 0) return WRONG;
            if (!(text_is(text, "next") ? json_number(json, &frame->next) : json_skip(json))) return WRONG;
        }
        return READ;
    }
    return SKIPPED;
}

static enum frame_type json_type(struct text name) {
    for (enum frame_type type = FRAME_WELCOME; type <= FRAME_BYE; type++)
        if (type != FRAME_UNDECODABLE && text_is(name, NAMES[type])) return type;
    return FRAME_UNKNOWN;
}

static bool json_frame(struct frames *frames, struct json *json) {
    struct text name, key;
    int more = json_open(json, '{', &name);
    if (more <= 0) return refuse(frames, more < 0 ? "not a JSON object" : "an object without a key");
    struct frame *frame = add(frames);
    frame->type = json_type(name);
    bool versioned = false, keyed = false;
    if (frame->type == FRAME_UNKNOWN) {
        if (!json_skip(json)) return refuse(frames, "not JSON");
    } else {
        for (more = json_open(json, '{', &key); more; more = json_more(json, '{', &key)) {
            if (more < 0) return refuse(frames, "not a JSON object");
            versioned |= text_is(key, "version") && json_peek(json) != 'n';
            keyed |= text_is(key, frame->type == FRAME_CONFIG ? "key" : "code") && json_peek(json) == '"';
            enum read read = json_peek(json) == 'n' ? SKIPPED : json_field(json, frame, key);
            if (read == WRONG || (read == SKIPPED && !json_skip(json))) return refuse(frames, "a field of a wrong type");
        }
    }
    if (json_more(json, '{', &key) != 0) return refuse(frames, "an object with more than one key");
    if (!json_over(json)) return refuse(frames, "something behind the object");
    return complete(frames, frame, versioned, keyed);
}

static bool json_read(const char *message, size_t length, struct frames *frames) {
    const char *end = message + length;
    while (message < end) {
        const char *stop = memchr(message, '\n', (size_t)(end - message));
        struct json line = {message, stop ? stop : end};
        message = stop ? stop + 1 : end;
        if (!json_over(&line) && !json_frame(frames, &line)) return false;
    }
    return frames->count > 0 || refuse(frames, "no frame");
}

static size_t json_hello(const struct hello *hello, char *out) {
    char *at = out + sprintf(out, "{\"hello\":{\"app\":");
    at = json_quote(at, hello->app);
    at += sprintf(at, ",\"device\":");
    at = json_quote(at, hello->device);
    at += sprintf(at, ",\"token\":");
    at = json_quote(at, hello->token);
    at += sprintf(at, ",\"versions\":[1]");
    if (hello->install.length) {
        at += sprintf(at, ",\"install\":");
        at = json_quote(at, hello->install);
    }
    if (hello->attempt) at += sprintf(at, ",\"attempt\":%llu", (unsigned long long)hello->attempt);
    return (size_t)(at + sprintf(at, "}}") - out);
}

static size_t json_ack(const uint64_t *ids, size_t count, bool undecodable, char *out) {
    static const struct text head = {"{\"ack\":{\"ids\":[", 15};
    memcpy(out, head.at, head.length);
    char *at = out + head.length;
    for (size_t i = 0; i < count; i++) {
        char digits[20], *digit = digits + sizeof digits;
        uint64_t id = ids[i];
        do *--digit = (char)('0' + id % 10);
        while (id /= 10);
        if (i) *at++ = ',';
        *at++ = '"';
        size_t length = (size_t)(digits + sizeof digits - digit);
        memcpy(at, digit, length);
        at += length;
        *at++ = '"';
    }
    struct text tail = undecodable ? TEXT("],\"status\":\"undecodable\"}}") : TEXT("],\"status\":\"received\"}}");
    memcpy(at, tail.at, tail.length);
    return (size_t)(at - out) + tail.length;
}

/* ── either ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

bool frames_read(enum codec codec, const char *message, size_t length, struct frames *frames) {
    frames->count = 0;
    frames->error = NULL;
    return codec == CODEC_PROTO ? proto_read(message, length, frames) : json_read(message, length, frames);
}

size_t frames_hello(enum codec codec, const struct hello *hello, char *out) {
    return codec == CODEC_PROTO ? proto_hello(hello, out) : json_hello(hello, out);
}

size_t frames_ack(enum codec codec, const uint64_t *ids, size_t count, bool undecodable, char *out) {
    return codec == CODEC_PROTO ? proto_ack(ids, count, undecodable, out) : json_ack(ids, count, undecodable, out);
}

size_t frames_ping(enum codec codec, char *out) {
    struct text text = codec == CODEC_PROTO ? TEXT("\x0a\x02\x1a\x00") : TEXT("{\"ping\":{}}");
    memcpy(out, text.at, text.length);
    return text.length;
}
