/* A CUDA driver without a GPU: what libcuda.so.1 exports, as far as the launcher needs it.

   Device memory is memory of the host between guard pages, kernels are those of an emulated network (module.cpp.in), run
   when the work of a stream is waited for and not before: a result that nobody waited for is not there, and memory of
   the host that is reused too early is read with its new contents.

   Environment: CUDA_STUB_DEVICES (default 1), CUDA_STUB_MEMORY (bytes of each, 1 GiB), CUDA_STUB_CAPABILITY (90),
   CUDA_STUB_SHARED (bytes a block, 232448), CUDA_STUB_FAIL="function:n:result": the n-th call of it from then on fails (0: all);
   the function "launch" is a kernel that runs, and fails for good. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
#define API PUBLIC int

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NO_BINARY = 209, INVALID_PTX = 218, NEW_PTX = 222, INVALID_HANDLE = 400,
    NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901
};
enum { MAX_DEVICES = 4, PAGE = 4096, ALIGNMENT = 256, CANARY = 0xa5, POISON = 0xff, MAX_ARGUMENTS = 16, MAX_DEPTH = 32 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char emulation_error[400];

/* Growing lists of pointers. */
typedef struct {
    void **items;
    size_t count, room;
} List;

static void add(List *list, void *item)
{
    if (list->count == list->room) {
        list->room = 2 * list->room + 8;
        list->items = realloc(list->items, list->room * sizeof *list->items);
    }
    list->items[list->count++] = item;
}

static int take(List *list, void *item)
{
    for (size_t i = 0; i < list->count; ++i) {
        if (list->items[i] != item) continue;
        list->items[i] = list->items[--list->count];
        return 1;
    }
    return 0;
}

/* Planted failures */

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static int planted(const char *function)
{
    static char seen[200];
    static long calls;
    const char *plan = getenv("CUDA_STUB_FAIL");
    if (!plan || !*plan) {
        seen[0] = 0;
        return SUCCESS;
    }
    if (strcmp(seen, plan)) {
        snprintf(seen, sizeof seen, "%s", plan);
        calls = 0;
    }
    const size_t length = strcspn(plan, ":");
    if (strlen(function) != length || strncmp(function, plan, length)) return SUCCESS;
    long nth = 1, result = INVALID_VALUE;
    sscanf(plan + length, ":%ld:%ld", &nth, &result);
    return ++calls == nth || !nth ? (int)result : SUCCESS;
}

/* Contexts and devices */

typedef struct {
    int device, sticky, users;
    size_t used;
} Context;

static Context contexts[MAX_DEVICES];
static pid_t initialised;
static __thread Context *stack[MAX_DEPTH];
static __thread int depth;

static int device_count(void)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (visible && (!*visible || *visible == '-')) return 0;
    const long count = number("CUDA_STUB_DEVICES", 1);
    return (int)(count > MAX_DEVICES ? MAX_DEVICES : count);
}

static Context *current(void)
{
    return depth ? stack[depth - 1] : NULL;
}

/* What every function does first: planted failures, a process that may use the driver, a context that still works. */
#define BEGIN_FREE(name) \
    pthread_mutex_lock(&lock); \
    int result = planted(name); \
    if (!result && initialised != getpid()) result = NOT_INITIALIZED
#define BEGIN(name) \
    BEGIN_FREE(name); \
    if (!result && !current()) result = INVALID_CONTEXT; \
    if (!result && current()->sticky) result = current()->sticky
#define END \
    pthread_mutex_unlock(&lock); \
    return result

/* Memory */

typedef struct {
    char *start, *mapping;
    size_t size, mapped;
    int device; /* -1: page-locked memory of the host */
} Block;

static List blocks;

static Block *block_of(const void *address, size_t size)
{
    for (size_t i = 0; i < blocks.count; ++i) {
        Block *block = blocks.items[i];
        const char *first = address;
        if (first >= block->start && first + size <= block->start + block->size) return block;
    }
    return NULL;
}

static int on_device(const void *address, size_t size)
{
    const Block *block = block_of(address, size);
    return block && block->device == current()->device;
}

/* Ends at a guard page, up to the alignment, which is watched. */
static Block *new_block(size_t size, int device)
{
    Block *block = calloc(1, sizeof *block);
    const size_t whole = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    block->mapped = (whole + PAGE - 1) / PAGE * PAGE + 2 * PAGE;
    block->mapping = mmap(NULL, block->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(block->mapping + PAGE, block->mapped - 2 * PAGE, PROT_READ | PROT_WRITE);
    block->start = block->mapping + block->mapped - PAGE - whole;
    block->size = size;
    block->device = device;
    memset(block->start, POISON, size);
    memset(block->start + size, CANARY, whole - size);
    add(&blocks, block);
    return block;
}

static void free_block(Block *block)
{
    for (const char *p = block->start + block->size; (uintptr_t)p % ALIGNMENT; ++p) {
        if ((unsigned char)*p == CANARY) continue;
        fprintf(stderr, "cuda stub: written behind an allocation of %zu bytes\n", block->size);
        abort();
    }
    take(&blocks, block);
    munmap(block->mapping, block->mapped);
    free(block);
}

/* Modules */

typedef struct {
    const char *name;
    void (*run)(void **arguments);
    int arguments;
} Kernel;

typedef const char *Launch(void (*run)(void **), const unsigned *grid, unsigned threads, size_t shared, void **arguments);

typedef struct {
    void *library;
    int file;
    Launch *launch;
    const Kernel *kernels;
    List functions;
} Module;

typedef struct {
    Module *module;
    const Kernel *kernel;
    long shared;
} Function;

/* Streams: queues of work */

typedef struct Stream Stream;

typedef struct {
    Stream *stream; /* where it was recorded last */
    size_t position; /* what has to be done before it has happened */
    double seconds;
    int recorded;
} Event;

typedef struct {
    enum { COPY, CLEAR, LAUNCH, WAIT, MARK } kind;
    void *to;
    const void *from;
    void *snapshot; /* of pageable memory */
    size_t size;
    Function *function;
    unsigned grid[3], threads;
    size_t shared;
    int arguments;
    void *values[MAX_ARGUMENTS];
    Event *event;
    Stream *other;
    size_t position;
    Context *context;
} Work;

typedef struct {
    List nodes; /* of Work */
} Graph;

struct Stream {
    Work **queue;
    size_t begun, done, count, room;
    int blocking;
    Graph *capture;
    int invalid, destroyed;
    pthread_t capturing;
};

static List streams;
static Stream legacy = {.blocking = 1}, per_thread = {.blocking = 1};
static double now;

static Stream *stream_of(Stream *handle)
{
    if ((uintptr_t)handle <= 1) return &legacy;
    return (uintptr_t)handle == 2 ? &per_thread : handle;
}

static void drain(Stream *stream, size_t position);

static void fail(Context *context, int code)
{
    if (!context->sticky) context->sticky = code;
}

/* Seconds that a kernel takes: CUDA_STUB_TIMES="part of a name=seconds;...", the first that fits; else a microsecond. */
static double seconds_of(const char *kernel)
{
    const char *plan = getenv("CUDA_STUB_TIMES");
    char part[100];
    double seconds;
    int length;
    while (plan && sscanf(plan, "%99[^=]=%lf%n", part, &seconds, &length) == 2) {
        if (strstr(kernel, part)) return seconds;
        plan += length + (plan[length] == ';');
    }
    return 1e-6;
}

static void do_launch(Work *work)
{
    void *arguments[MAX_ARGUMENTS];
    const int code = planted("launch");
    if (code) return fail(work->context, code);
    for (int i = 0; i < work->arguments; ++i) {
        const Block *block = block_of(work->values[i], 1);
        if (!block || block->device != work->context->device) return fail(work->context, ILLEGAL_ADDRESS);
        arguments[i] = &work->values[i];
    }
    const char *error = work->function->module->launch(
        work->function->kernel->run, work->grid, work->threads, work->shared, arguments);
    if (error[0]) {
        snprintf(emulation_error, sizeof emulation_error, "%s", error);
        fail(work->context, 719);
    }
    now += seconds_of(work->function->kernel->name);
}

static void perform(Work *work)
{
    if (work->context->sticky) return;
    switch (work->kind) {
    case COPY: memcpy(work->to, work->snapshot ? work->snapshot : work->from, work->size); break;
    case CLEAR: memset(work->to, 0, work->size); break;
    case LAUNCH: do_launch(work); break;
    case WAIT: drain(work->other, work->position); break;
    case MARK: work->event->seconds = now += 1e-7; break;
    }
}

static void drain(Stream *stream, size_t position)
{
    while (stream->begun < position && stream->begun < stream->count) {
        Work *work = stream->queue[stream->begun++];
        perform(work);
        free(work->snapshot);
        free(work);
        ++stream->done;
    }
}

static void drain_all(void)
{
    drain(&legacy, legacy.count);
    drain(&per_thread, per_thread.count);
    for (size_t i = 0; i < streams.count; ++i) drain(streams.items[i], ((Stream *)streams.items[i])->count);
}

static void push(Stream *stream, const Work *work)
{
    if (stream->count == stream->room) {
        stream->room = 2 * stream->room + 64;
        stream->queue = realloc(stream->queue, stream->room * sizeof *stream->queue);
    }
    stream->queue[stream->count] = malloc(sizeof *work);
    *stream->queue[stream->count++] = *work;
}

static void wait_for(Stream *stream, Stream *other)
{
    if (other == stream || other->count == other->done) return;
    const Work wait = {.kind = WAIT, .other = other, .position = other->count, .context = current()};
    push(stream, &wait);
}

/* Into the queue, behind what the legacy stream asks for; or into the graph that is captured. */
static int enqueue(Stream *stream, Work work)
{
    work.context = current();
    if (stream->capture) {
        if (!pthread_equal(stream->capturing, pthread_self())) return CAPTURE_UNSUPPORTED;
        Work *node = malloc(sizeof *node);
        *node = work;
        add(&stream->capture->nodes, node);
        return SUCCESS;
    }
    if (stream == &legacy) {
        for (size_t i = 0; i < streams.count; ++i) {
            Stream *other = streams.items[i];
            if (other->blocking) wait_for(stream, other);
        }
        wait_for(stream, &per_thread);
    } else if (stream->blocking) {
        wait_for(stream, &legacy);
    }
    push(stream, &work);
    return SUCCESS;
}

/* Calls that a thread must not make while it captures (in the mode "thread local"). */
static int unsafe(void)
{
    for (size_t i = 0; i < streams.count; ++i) {
        Stream *stream = streams.items[i];
        if (!stream->capture || !pthread_equal(stream->capturing, pthread_self())) continue;
        stream->invalid = 1;
        return CAPTURE_UNSUPPORTED;
    }
    return SUCCESS;
}

#include "api.h"
#include "lookup.h"
