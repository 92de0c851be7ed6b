/* Calls a student's function, in a process of its own: runner LIBRARY CALLS RESULTS SECONDS BYTES
 *
 * CALLS is a file of arguments; RESULTS is the number of a file descriptor that takes records (see runner.py,
 * which reads them). Arrays lie between pages that may not be touched, once flush with the page behind
 * them and once with the page before them, so that an access one element outside traps. Inputs are read-only.
 * With the address sanitizer they lie on the heap instead, where it knows their ends and says the line.
 *
 * call.h is made for each operation: NAME, BUFFERS, OUTPUT, NUMBERS, and call(). */
#define _GNU_SOURCE
#include "call.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

enum { PLACED = 1, RESULT, FAULT, OUTSIDE, MISSING };     /* kinds of records */
enum { GUARD = 1 << 20, CANARY = 0xA5, STACK = 1 << 16 }; /* GUARD: also for indices that are far out */

typedef struct {
    int64_t kind, call, end, values[4], payload_bytes;
} record;

typedef struct {
    char *map, *data, *pages;
    size_t map_bytes, page_bytes, bytes;
} buffer;

static int results;
static record now; /* what runs, for the signal handler */

static void put(const void *data, size_t bytes) {
    for (const char *p = data; bytes;) {
        ssize_t n = write(results, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(4);
        p += n;
        bytes -= (size_t)n;
    }
}

static void report(int64_t kind, const void *payload, size_t bytes) {
    record r = now;
    r.kind = kind;
    r.payload_bytes = (int64_t)bytes;
    put(&r, sizeof r);
    put(payload, bytes);
}

/* 1 for a write, 0 for a read, -1 where the system does not say. */
static int was_write(const void *context) {
#if defined(__linux__) && defined(__x86_64__)
    return (int)(((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] >> 1 & 1);
#else
    (void)context;
    return -1;
#endif
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    now.values[0] = signal;
    now.values[1] = info->si_code;
    now.values[2] = (int64_t)(intptr_t)info->si_addr;
    now.values[3] = was_write(context);
    report(FAULT, NULL, 0);
    _exit(3);
}

static void catch_faults(void) {
    static char stack[STACK]; /* its own: the usual one may have overflowed */
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigaltstack(&alternative, NULL);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigaction(faults[i], &action, NULL);
}

static void limit(int resource, rlim_t most) {
    struct rlimit r = {most, most};
    setrlimit(resource, &r);
}

static void set_limits(rlim_t seconds, rlim_t bytes) {
    limit(RLIMIT_CPU, seconds + 1);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 1 << 24);
    signal(SIGXFSZ, SIG_IGN); /* what is printed beyond that is lost */
    if (!SANITIZED)
        limit(RLIMIT_AS, bytes); /* the sanitizer reserves terabytes, and has a limit of its own */
}

/* Room for `bytes`: ends at a guard page (end 0), or begins behind one (end 1). */
static int place(buffer *b, size_t bytes, int end) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *b = (buffer){.bytes = bytes, .page_bytes = (bytes + page - 1) / page * page};
    if (SANITIZED) {
        b->data = b->map = malloc(bytes);
        return b->map ? 0 : -1;
    }
    b->map_bytes = b->page_bytes + 2 * (size_t)GUARD;
    b->map = mmap(NULL, b->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED) return -1;
    b->pages = b->map + GUARD;
    if (b->page_bytes && mprotect(b->pages, b->page_bytes, PROT_READ | PROT_WRITE)) return -1;
    memset(b->pages, CANARY, b->page_bytes);
    b->data = b->pages + (end == 0 ? b->page_bytes - bytes : 0);
    return 0;
}

static void release(buffer *b) {
    if (SANITIZED)
        free(b->map);
    else
        munmap(b->map, b->map_bytes);
}

/* Whether what shares the pages with the array is as it was; says where it is not. */
static int untouched(const buffer *b) {
    for (size_t i = 0; i < b->page_bytes && b->pages; i++) {
        const char *p = b->pages + i;
        if ((p < b->data || p >= b->data + b->bytes) && *(const unsigned char *)p != CANARY) {
            now.values[0] = p - b->data;
            return 0;
        }
    }
    return 1;
}

static const char *take(const char **p, size_t bytes) {
    const char *start = *p;
    *p += bytes;
    return start;
}

/* One call with its arrays at one end; false when nothing more can be called. */
static int run(void *function, const char **input, int end) {
    buffer buffers[BUFFERS];
    void *pointers[BUFFERS];
    int64_t bytes[BUFFERS], addresses[BUFFERS + 1];
    double numbers[NUMBERS];
    memcpy(numbers, take(input, sizeof numbers), sizeof numbers);
    memcpy(bytes, take(input, sizeof bytes), sizeof bytes);
    for (int i = 0; i < BUFFERS; i++) {
        if (place(&buffers[i], (size_t)bytes[i], end)) _exit(5);
        pointers[i] = memcpy(buffers[i].data, take(input, (size_t)bytes[i]), (size_t)bytes[i]);
        addresses[i] = (int64_t)(intptr_t)pointers[i];
        if (i != OUTPUT && buffers[i].pages) mprotect(buffers[i].pages, buffers[i].page_bytes, PROT_READ);
    }
    addresses[BUFFERS] = (int64_t)(intptr_t)&buffers; /* where the stack is */
    report(PLACED, addresses, sizeof addresses);
    call(function, pointers, numbers);
    int fine = untouched(&buffers[OUTPUT]);
    if (fine)
        report(RESULT, pointers[OUTPUT], (size_t)bytes[OUTPUT]);
    else
        report(OUTSIDE, NULL, 0);
    for (int i = 0; i < BUFFERS; i++) release(&buffers[i]);
    return fine;
}

static const char *whole_file(const char *name) {
    struct stat info;
    int file = open(name, O_RDONLY);
    if (file < 0 || fstat(file, &info)) return NULL;
    const char *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    return data == MAP_FAILED ? NULL : data;
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    results = atoi(argv[3]);
    const char *input = whole_file(argv[2]);
    if (!input) return 2;
    set_limits((rlim_t)atoll(argv[4]), (rlim_t)atoll(argv[5]));
    if (!SANITIZED) catch_faults();
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    void *function = library ? dlsym(library, NAME) : NULL;
    if (!function) {
        const char *why = library ? "" : dlerror();
        report(MISSING, why, strlen(why));
        return 1;
    }
    int64_t calls;
    memcpy(&calls, take(&input, sizeof calls), sizeof calls);
    for (now.call = 0; now.call < calls; now.call++) {
        const char *same = input;
        for (now.end = 0; now.end < 2; now.end++) {
            input = same;
            if (!run(function, &input, (int)now.end)) return 1;
        }
    }
    fflush(NULL);
    return 0;
}
