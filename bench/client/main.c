/* A load client for Taco: many devices on WebSockets and callers of the push API in one process that takes little of the machine.
 *
 * Commands are lines of JSON on stdin, each with a number `n` that its answer on stdout carries (bench/client/process.py is the other side):
 *
 *     {"n":1,"do":"devices","file":…,"codec":"proto|json","gateways":["host:port",…],"at_once":200,"timeout_s":15}   answered when all have signed in
 *     {"n":2,"do":"log","seen":FILE,"accepted":FILE}      records (loop.h) of each push and of each 202 from now on; "" ends it
 *     {"n":3,"do":"flush"}                                what was noted is in the files
 *     {"n":4,"do":"offer","apis":[…],"key":…,"rate":…,"seconds":…,"batch":…,"connections":…,"seed":…,"timeout_s":…}    answered when the window is over
 *     {"n":5,"do":"answered"}                             answered when no request is without an answer
 *     {"n":6,"do":"counters"}   {"n":7,"do":"start_over"} counts and lags since the last start_over; ids that devices have shown are kept
 *     {"n":8,"do":"progress","fd":…,"every":256}          the number of acks sent so far, 8 bytes, each `every` acks and when nothing is left to do
 *     {"n":9,"do":"close"}                                all devices go offline
 *
 * While pushes are offered, {"event":"accepted","id":…,"due_ns":…} tells the newest accepted one, ten times a second. The end of stdin ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "callers.h"
#include "check.h"
#include "device.h"

#define SECOND 1000000000LL
enum { LAG_NS = 5000000, NEWS_NS = 100000000 };

/* Numbers of the commands that wait for their answer; 0: none does. */
static uint64_t signing_in, offering, answering;
static int64_t window_begin, window_end;
static int progress_fd = -1;
static uint64_t progress_every, progress_told;
static uint64_t acked_before; /* start_over sets the counters to 0, and progress goes on */

/* ── commands ───────────────────────────────────────────────────────────────────────────────────────────────────── */

struct command {
    uint64_t n, at_once, batch, connections, seed, every, fd;
    double rate, seconds, timeout_s;
    struct text does, file, codec, key, seen, accepted;
    struct json gateways, apis;
};

static bool list(struct json *json, struct json *found) {
    *found = *json;
    return json_skip(json);
}

static bool command_of(struct json json, struct command *command) {
    struct text key;
    *command = (struct command){.timeout_s = 15, .at_once = 200, .connections = 16, .batch = 1, .seed = 1, .every = 256};
    for (int more = json_open(&json, '{', &key); more; more = json_more(&json, '{', &key)) {
        bool good = more > 0 && (text_is(key, "n")             ? json_number(&json, &command->n)
                                 : text_is(key, "do")          ? json_text(&json, &command->does)
                                 : text_is(key, "file")        ? json_text(&json, &command->file)
                                 : text_is(key, "codec")       ? json_text(&json, &command->codec)
                                 : text_is(key, "gateways")    ? list(&json, &command->gateways)
                                 : text_is(key, "at_once")     ? json_number(&json, &command->at_once)
                                 : text_is(key, "timeout_s")   ? json_real(&json, &command->timeout_s)
                                 : text_is(key, "seen")        ? json_text(&json, &command->seen)
                                 : text_is(key, "accepted")    ? json_text(&json, &command->accepted)
                                 : text_is(key, "apis")        ? list(&json, &command->apis)
                                 : text_is(key, "key")         ? json_text(&json, &command->key)
                                 : text_is(key, "rate")        ? json_real(&json, &command->rate)
                                 : text_is(key, "seconds")     ? json_real(&json, &command->seconds)
                                 : text_is(key, "batch")       ? json_number(&json, &command->batch)
                                 : text_is(key, "connections") ? json_number(&json, &command->connections)
                                 : text_is(key, "seed")        ? json_number(&json, &command->seed)
                                 : text_is(key, "fd")          ? json_number(&json, &command->fd)
                                 : text_is(key, "every")       ? json_number(&json, &command->every)
                                                               : false);
        if (!good) return false;
    }
    return json_over(&json);
}

static size_t addresses(struct json json, struct address *out, size_t most, const char *what) {
    struct text text;
    size_t count = 0;
    for (int more = json_open(&json, '[', &text); more > 0; more = json_more(&json, '[', &text)) {
        if (count == most) give_up("%s: at most %zu", what, most);
        if (!json_text(&json, &text) || !address_of(text, &out[count++])) give_up("%s: not host:port", what);
    }
    if (!count) give_up("%s: none given", what);
    return count;
}

static void done(uint64_t n) { say("{\"n\":%llu}", (unsigned long long)n); }

static void print_tally(const char *name, const struct tally *tally) {
    printf(",\"%s\":{", name);
    for (size_t i = 0; i < tally->count; i++) printf("%s\"%s\":%llu", i ? "," : "", tally->of[i].name, (unsigned long long)tally->of[i].times);
    putchar('}');
}

static void say_counters(uint64_t n) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"n\":%llu,\"live\":%zu,\"waiting\":%zu", (unsigned long long)n, crowd.live, callers_waiting());
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {
        {"signed_in", counters.signed_in},   {"pushes", counters.pushes},   {"shown", counters.shown},     {"repeats", counters.repeats},
        {"again", counters.again},           {"recalls", counters.recalls}, {"acked", counters.acked},     {"undecodable", counters.undecodable},
        {"unreadable", counters.unreadable}, {"offered", counters.offered}, {"accepted", counters.accepted}, {"unanswered", counters.unanswered},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) printf(",\"%s\":%llu", counts[i].name, (unsigned long long)counts[i].count);
    print_tally("ended", &counters.ended);
    print_tally("refused", &counters.refused);
    printf(",\"user_us\":%lld,\"system_us\":%lld", used.ru_utime.tv_sec * 1000000LL + used.ru_utime.tv_usec,
           used.ru_stime.tv_sec * 1000000LL + used.ru_stime.tv_usec);
    say(",\"lag\":{\"count\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}}", counters.lags.count, lags_ms(&counters.lags, 50),
        lags_ms(&counters.lags, 99), lags_ms(&counters.lags, 100));
}

static void start_over(void) {
    acked_before += counters.acked;
    free(counters.lags.at);
    counters = (struct counters){0};
}

static void begin_devices(const struct command *command) {
    if (crowd.devices) give_up("devices: they were given already");
    crowd.codec = text_is(command->codec, "json") ? CODEC_JSON : CODEC_PROTO;
    crowd.gateway_count = addresses(command->gateways, crowd.gateways, sizeof crowd.gateways / sizeof *crowd.gateways, "gateways");
    crowd.at_once = command->at_once;
    crowd.timeout_ns = (int64_t)(command->timeout_s * 1e9);
    crowd_read(command->file);
    signing_in = command->n;
    crowd.began_ns = now_ns();
    crowd_sign_in();
}

static void begin_offer(const struct command *command) {
    struct offer offer = {.rate = command->rate,
                          .batch = command->batch,
                          .total = (uint64_t)(command->rate * command->seconds / (double)command->batch + 0.5),
                          .connections = command->connections,
                          .timeout_ns = (int64_t)(command->timeout_s * 1e9),
                          .begin_ns = now_ns() + SECOND / 10};
    if (!crowd.count) give_up("offer: there are no devices");
    if (offer.rate <= 0 || !offer.batch || !offer.connections) give_up("offer: rate, batch and connections are above 0");
    offer.api_count = addresses(command->apis, offer.apis, sizeof offer.apis / sizeof *offer.apis, "apis");
    snprintf(offer.key, sizeof offer.key, "%.*s", (int)command->key.length, command->key.at);
    window_begin = offer.begin_ns;
    window_end = offer.begin_ns + (int64_t)(command->seconds * 1e9);
    chance_seed(command->seed);
    callers_begin(&offer);
    offering = command->n;
}

static void obey(struct json line) {
    struct command command;
    if (!command_of(line, &command)) give_up("not a command: %.*s", (int)(line.end - line.at), line.at);
    if (text_is(command.does, "devices")) return begin_devices(&command);
    if (text_is(command.does, "offer")) return begin_offer(&command);
    if (text_is(command.does, "counters")) return say_counters(command.n);
    if (text_is(command.does, "answered")) {
        answering = command.n;
        return;
    }
    if (text_is(command.does, "log")) {
        if (!log_open(&seen_log, command.seen) || !log_open(&accepted_log, command.accepted)) give_up("log: %s", strerror(errno));
    } else if (text_is(command.does, "flush")) {
        if (!log_flush(&seen_log) || !log_flush(&accepted_log)) give_up("log: %s", strerror(errno));
    } else if (text_is(command.does, "start_over")) {
        start_over();
    } else if (text_is(command.does, "progress")) {
        progress_fd = (int)command.fd;
        progress_every = command.every;
        progress_told = 0;
        fcntl(progress_fd, F_SETFL, fcntl(progress_fd, F_GETFL) | O_NONBLOCK);
    } else if (text_is(command.does, "close")) {
        crowd_close();
    } else {
        give_up("not a command: %.*s", (int)command.does.length, command.does.at);
    }
    done(command.n);
}

static void hear(struct source *source, uint32_t events) {
    static struct bytes in;
    (void)events;
    ssize_t got = read(source->fd, bytes_room(&in, 65536), 65536);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) exit(0); /* whoever started us is gone */
    in.length += (size_t)got;
    for (char *end; (end = memchr(in.at, '\n', in.length));) {
        obey((struct json){in.at, end});
        bytes_drop(&in, (size_t)(end - in.at) + 1);
    }
}

/* ── what waits for a moment ────────────────────────────────────────────────────────────────────────────────────── */

static void answer_what_is_over(int64_t now) {
    if (signing_in && crowd_signed_in()) {
        char why[sizeof crowd.why * 6 + 2];
        *json_quote(why, (struct text){crowd.why, strlen(crowd.why)}) = 0;
        say("{\"n\":%llu,\"signed_in\":%zu,\"failed\":%zu,\"why\":%s,\"seconds\":%.6f}", (unsigned long long)signing_in, crowd.live, crowd.failed, why,
            (double)(now - crowd.began_ns) / 1e9);
        signing_in = 0;
    }
    if (offering && now >= window_end && callers_due() == INT64_MAX) {
        say("{\"n\":%llu,\"begin_ns\":%lld,\"end_ns\":%lld}", (unsigned long long)offering, (long long)window_begin, (long long)window_end);
        offering = 0;
    }
    if (answering && !offering && !callers_waiting()) {
        done(answering);
        answering = 0;
    }
}

static bool progress_waits(void) { return progress_fd >= 0 && acked_before + counters.acked != progress_told; }

static void tell_progress(bool idle) {
    uint64_t acked = acked_before + counters.acked;
    if (!progress_waits() || (!idle && acked - progress_told < progress_every)) return;
    if (write(progress_fd, &acked, sizeof acked) == sizeof acked) progress_told = acked;
}

static void tell_news(void) {
    static uint64_t told;
    struct record newest = callers_newest();
    if (newest.id == told) return;
    told = newest.id;
    say("{\"event\":\"accepted\",\"id\":%llu,\"due_ns\":%lld}", (unsigned long long)newest.id, (long long)newest.ns);
}

static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "--check") == 0) return check();
    signal(SIGPIPE, SIG_IGN);
    struct source orders = {0, hear};
    watch(&orders, EPOLLIN);
    int64_t lag_due = now_ns() + LAG_NS, tick_due = now_ns() + SECOND, news_due = now_ns() + NEWS_NS;
    for (;;) {
        int64_t now = now_ns();
        if (now >= lag_due) {
            lags_add(&counters.lags, now - lag_due);
            lag_due = now + LAG_NS;
        }
        if (now >= tick_due) {
            crowd_tick(now);
            callers_tick(now);
            tick_due = now + SECOND;
        }
        if (now >= news_due) {
            tell_news();
            news_due = now + NEWS_NS;
        }
        callers_send(now);
        answer_what_is_over(now_ns());
        int64_t until = sooner(sooner(lag_due, tick_due), sooner(news_due, callers_due()));
        int ready = loop_once(progress_waits() ? 0 : until);
        tell_progress(ready == 0);
    }
}
