/* `client --check`: reads and writes frames by lines of JSON, for the tests that hold them against the golden vectors.
 *
 *     {"codec":"proto","read":"<hex>"}                    →  {"frames":[{"type":…,…}]} or {"error":"…"}
 *     {"codec":"json","ack":["7","8"],"undecodable":true} →  {"message":"<hex>"}; so too "hello" (app, device, token, install, attempt) and "ping"
 */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "loop.h"

static size_t from_hex(struct text hex, char *out) {
    for (size_t i = 0; i + 1 < hex.length; i += 2) {
        char pair[3] = {hex.at[i], hex.at[i + 1], 0};
        out[i / 2] = (char)strtoul(pair, NULL, 16);
    }
    return hex.length / 2;
}

static void print_hex(const char *message, size_t length) {
    printf("{\"message\":\"");
    for (size_t i = 0; i < length; i++) printf("%02x", (unsigned char)message[i]);
    printf("\"}\n");
}

static void print_frames(const struct frames *frames) {
    printf("{\"frames\":[");
    for (size_t i = 0; i < frames->count; i++) {
        const struct frame *frame = &frames->at[i];
        printf("%s{\"type\":\"%s\",\"id\":\"%llu\",\"again\":%s,\"via_vendor\":%s,\"sent\":%llu,\"next\":%llu,\"window\":%llu,\"code\":%llu,\"reason\":\"%.*s\"}",
               i ? "," : "", frame_name(frame->type), (unsigned long long)frame->id, frame->again ? "true" : "false", frame->via_vendor ? "true" : "false",
               (unsigned long long)frame->sent, (unsigned long long)frame->next, (unsigned long long)frame->window, (unsigned long long)frame->code,
               (int)frame->reason.length, frame->reason.at ? frame->reason.at : "");
    }
    printf("]}\n");
}

static bool one(struct json line) {
    enum codec codec = CODEC_PROTO;
    struct text key, text = {0}, read = {0};
    struct hello hello = {0};
    uint64_t ids[ACK_IDS];
    size_t count = 0;
    bool undecodable = false, reads = false, greets = false, pings = false;
    for (int more = json_open(&line, '{', &key); more; more = json_more(&line, '{', &key)) {
        bool good = more > 0;
        if (good && text_is(key, "codec")) {
            good = json_text(&line, &text);
            codec = text_is(text, "json") ? CODEC_JSON : CODEC_PROTO;
        } else if (good && text_is(key, "read")) {
            good = reads = json_text(&line, &read);
        } else if (good && text_is(key, "ack")) {
            int item = json_open(&line, '[', &key);
            for (; item > 0 && count < ACK_IDS; item = json_more(&line, '[', &key))
                if (!json_text(&line, &text)) return false;
                else ids[count++] = strtoull(text.at, NULL, 10);
            good = item == 0;
        } else if (good && text_is(key, "undecodable")) {
            good = json_true_or_false(&line, &undecodable);
        } else if (good && text_is(key, "ping")) {
            good = json_true_or_false(&line, &pings);
        } else if (good && text_is(key, "attempt")) {
            good = greets = json_number(&line, &hello.attempt);
        } else if (good) {
            struct text *field = text_is(key, "app") ? &hello.app : text_is(key, "device") ? &hello.device : text_is(key, "token") ? &hello.token : &hello.install;
            good = greets = json_text(&line, field);
        }
        if (!good) return false;
    }
    static char message[1 << 16];
    if (reads) {
        static struct frames frames;
        char *bytes = malloc(read.length / 2 + 1);
        if (frames_read(codec, bytes, from_hex(read, bytes), &frames)) print_frames(&frames);
        else printf("{\"error\":\"%s\"}\n", frames.error);
        free(bytes);
    } else if (greets) {
        print_hex(message, frames_hello(codec, &hello, message));
    } else if (pings) {
        print_hex(message, frames_ping(codec, message));
    } else {
        print_hex(message, frames_ack(codec, ids, count, undecodable, message));
    }
    return true;
}

int check(void) {
    char *line = NULL;
    size_t room = 0;
    for (ssize_t length; (length = getline(&line, &room, stdin)) > 0;)
        if (!one((struct json){line, line + length})) give_up("--check: not a line that it knows");
    free(line);
    return 0;
}
