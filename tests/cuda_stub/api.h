/* The functions, with the names of cuda.h. */

API cuInit(unsigned flags)
{
    pthread_mutex_lock(&lock);
    int result = planted("cuInit");
    if (!result && initialised && initialised != getpid()) result = NOT_INITIALIZED;
    if (!result && !device_count()) result = NO_DEVICE;
    if (!result) initialised = getpid();
    (void)flags;
    END;
}

API cuDriverGetVersion(int *version)
{
    *version = 13000;
    return SUCCESS;
}

API cuDeviceGetCount(int *count)
{
    BEGIN_FREE("cuDeviceGetCount");
    *count = device_count();
    END;
}

API cuDeviceGet(int *device, int ordinal)
{
    BEGIN_FREE("cuDeviceGet");
    if (!result && (ordinal < 0 || ordinal >= device_count())) result = INVALID_DEVICE;
    *device = ordinal;
    END;
}

API cuDeviceGetName(char *name, int length, int device)
{
    snprintf(name, (size_t)length, "Stub %d", device);
    return SUCCESS;
}

API cuDeviceGetAttribute(int *value, int attribute, int device)
{
    const int capability = (int)number("CUDA_STUB_CAPABILITY", 90);
    BEGIN_FREE("cuDeviceGetAttribute");
    (void)device;
    switch (attribute) {
    case 13: *value = 1980000; break; /* kHz, and the other figures of an H100 */
    case 16: *value = (int)number("CUDA_STUB_PROCESSORS", 132); break;
    case 36: *value = 2619000; break;
    case 37: *value = 5120; break;
    case 38: *value = 50 << 20; break;
    case 39: *value = 2048; break;
    case 75: *value = capability / 10; break;
    case 76: *value = capability % 10; break;
    case 81: *value = 233472; break;
    case 97: *value = (int)number("CUDA_STUB_SHARED", 232448); break;
    case 106: *value = 32; break;
    case 111: *value = 1024; break;
    default: *value = 0;
    }
    END;
}

API cuDeviceComputeCapability(int *major, int *minor, int device)
{
    const int result = cuDeviceGetAttribute(major, 75, device);
    return result ? result : cuDeviceGetAttribute(minor, 76, device);
}

API cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    *bytes = (size_t)number("CUDA_STUB_MEMORY", 1L << 30);
    (void)device;
    return SUCCESS;
}

API cuDevicePrimaryCtxRetain(Context **context, int device)
{
    BEGIN_FREE("cuDevicePrimaryCtxRetain");
    contexts[device].device = device;
    if (!result) ++contexts[device].users;
    *context = &contexts[device];
    END;
}

API cuDevicePrimaryCtxRelease_v2(int device)
{
    BEGIN_FREE("cuDevicePrimaryCtxRelease");
    if (!result) --contexts[device].users;
    /* pycuda pushes a primary context before it releases it, and takes for granted that this pops it. */
    while (!contexts[device].users && depth && stack[depth - 1] == &contexts[device]) --depth;
    END;
}

API cuCtxPushCurrent_v2(Context *context)
{
    BEGIN_FREE("cuCtxPushCurrent");
    if (!result && (!context->users || depth == MAX_DEPTH)) result = INVALID_CONTEXT;
    if (!result) stack[depth++] = context;
    END;
}

API cuCtxPopCurrent_v2(Context **context)
{
    BEGIN_FREE("cuCtxPopCurrent");
    if (!result && !depth) result = INVALID_CONTEXT;
    if (!result) *context = stack[--depth];
    END;
}

API cuCtxGetCurrent(Context **context)
{
    *context = current();
    return SUCCESS;
}

API cuCtxGetDevice(int *device)
{
    BEGIN("cuCtxGetDevice");
    if (!result) *device = current()->device;
    END;
}

API cuCtxSynchronize(void)
{
    BEGIN("cuCtxSynchronize");
    if (!result) result = unsafe();
    if (!result) {
        drain_all();
        result = current()->sticky;
    }
    END;
}

/* Memory */

API cuMemGetInfo_v2(size_t *available, size_t *total)
{
    BEGIN("cuMemGetInfo");
    *total = (size_t)number("CUDA_STUB_MEMORY", 1L << 30);
    *available = result ? 0 : *total - current()->used;
    END;
}

API cuMemAlloc_v2(void **address, size_t size)
{
    BEGIN("cuMemAlloc");
    if (!result) result = unsafe();
    if (!result && !size) result = INVALID_VALUE;
    if (!result && current()->used + size > (size_t)number("CUDA_STUB_MEMORY", 1L << 30)) result = OUT_OF_MEMORY;
    if (!result) {
        *address = new_block(size, current()->device)->start;
        current()->used += size;
    }
    END;
}

API cuMemFree_v2(void *address)
{
    BEGIN("cuMemFree");
    if (!result) result = unsafe();
    Block *block = result ? NULL : block_of(address, 1);
    if (!result && (!block || block->start != address || block->device < 0)) result = INVALID_VALUE;
    if (!result) {
        drain_all();
        contexts[block->device].used -= block->size;
        free_block(block);
    }
    END;
}

API cuMemHostAlloc(void **address, size_t size, unsigned flags)
{
    BEGIN("cuMemHostAlloc");
    (void)flags;
    if (!result) result = unsafe();
    if (!result) *address = new_block(size, -1)->start;
    END;
}

API cuMemFreeHost(void *address)
{
    BEGIN("cuMemFreeHost");
    Block *block = result ? NULL : block_of(address, 1);
    if (!result && (!block || block->device >= 0)) result = INVALID_VALUE;
    if (!result) free_block(block);
    END;
}

API cuPointerGetAttribute(void *data, int attribute, void *address)
{
    BEGIN("cuPointerGetAttribute");
    const Block *block = result ? NULL : block_of(address, 1);
    if (!result && !block) result = INVALID_VALUE;
    if (!result && attribute == 2) *(unsigned *)data = block->device < 0 ? 1 : 2;
    if (!result && attribute == 9) *(int *)data = block->device < 0 ? 0 : block->device;
    END;
}

API cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, Stream *handle)
{
    BEGIN("cuMemcpyHtoDAsync");
    if (!result && !on_device(to, size)) result = INVALID_VALUE;
    if (!result) {
        Work work = {.kind = COPY, .to = to, .from = from, .size = size};
        if (!block_of(from, size)) work.snapshot = memcpy(malloc(size + 1), from, size);
        result = enqueue(stream_of(handle), work);
    }
    END;
}

API cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, Stream *handle)
{
    BEGIN("cuMemcpyDtoHAsync");
    if (!result && !on_device(from, size)) result = INVALID_VALUE;
    if (!result) result = enqueue(stream_of(handle), (Work){.kind = COPY, .to = to, .from = from, .size = size});
    /* To pageable memory the driver copies before it returns. */
    if (!result && !block_of(to, size)) drain(stream_of(handle), stream_of(handle)->count);
    END;
}

API cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t size, Stream *handle)
{
    BEGIN("cuMemcpyDtoDAsync");
    if (!result && !(on_device(to, size) && on_device(from, size))) result = INVALID_VALUE;
    if (!result) result = enqueue(stream_of(handle), (Work){.kind = COPY, .to = to, .from = from, .size = size});
    END;
}

API cuMemsetD8Async(void *to, unsigned char value, size_t size, Stream *handle)
{
    BEGIN("cuMemsetD8Async");
    if (!result && (value || !on_device(to, size))) result = INVALID_VALUE;
    if (!result) result = enqueue(stream_of(handle), (Work){.kind = CLEAR, .to = to, .size = size});
    END;
}

/* Modules */

static int load_elf(const unsigned char *image, Module **module)
{
    const Elf64_Ehdr *header = (const void *)image;
    const size_t size = header->e_shoff + (size_t)header->e_shentsize * header->e_shnum;
    const int file = memfd_create("module", 0); /* open as long as it is loaded: dlopen knows libraries by path */
    char path[64];
    if (write(file, image, size) != (ssize_t)size) return INVALID_IMAGE;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), file);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return INVALID_IMAGE;
    const int *capability = dlsym(library, "stub_capability");
    if (!capability) return INVALID_IMAGE;
    if (*capability != number("CUDA_STUB_CAPABILITY", 90)) return NO_BINARY;
    *module = calloc(1, sizeof **module);
    (*module)->library = library;
    (*module)->file = file;
    (*module)->launch = (Launch *)dlsym(library, "stub_launch");
    (*module)->kernels = dlsym(library, "stub_kernels");
    return SUCCESS;
}

API cuModuleLoadDataEx(Module **module, const void *image, unsigned count, int *options, void **values)
{
    BEGIN("cuModuleLoadData");
    (void)count, (void)options, (void)values;
    const char *text = image;
    if (result) {
    } else if (!memcmp(image, ELFMAG, SELFMAG)) {
        result = load_elf(image, module);
    } else if (!strncmp(text, ".version", 8)) {
        result = strtod(text + 8, NULL) > 9.0 ? NEW_PTX : INVALID_PTX;
    } else {
        result = INVALID_IMAGE;
    }
    END;
}

API cuModuleLoadData(Module **module, const void *image)
{
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

API cuModuleUnload(Module *module)
{
    BEGIN("cuModuleUnload");
    if (!result) {
        drain_all();
        for (size_t i = 0; i < module->functions.count; ++i) free(module->functions.items[i]);
        free(module->functions.items);
        dlclose(module->library);
        close(module->file);
        free(module);
    }
    END;
}

API cuModuleGetFunction(Function **function, Module *module, const char *name)
{
    BEGIN("cuModuleGetFunction");
    if (!result) {
        const Kernel *kernel = module->kernels;
        while (kernel->name && strcmp(kernel->name, name)) ++kernel;
        if (kernel->name) {
            *function = calloc(1, sizeof **function);
            **function = (Function){module, kernel, 48 << 10};
            add(&module->functions, *function);
        } else {
            result = NOT_FOUND;
        }
    }
    END;
}

API cuFuncSetAttribute(Function *function, int attribute, int value)
{
    BEGIN("cuFuncSetAttribute");
    if (!result && (attribute != 8 || value > number("CUDA_STUB_SHARED", 232448))) result = INVALID_VALUE;
    if (!result) function->shared = value;
    END;
}

/* The arguments are pointers all, given one by one or (as pycuda does) in a buffer. */
static int set_arguments(Work *work, void **arguments, void **extra)
{
    size_t size = 0;
    char *buffer = NULL;
    for (; extra && *extra; extra += 2) {
        if ((uintptr_t)*extra == 1) buffer = extra[1];
        if ((uintptr_t)*extra == 2) size = *(size_t *)extra[1];
    }
    work->arguments = work->function->kernel->arguments;
    if (buffer && size != work->arguments * sizeof(void *)) return INVALID_VALUE;
    for (int i = 0; i < work->arguments; ++i) {
        work->values[i] = buffer ? ((void **)buffer)[i] : *(void **)arguments[i];
    }
    return SUCCESS;
}

API cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
    unsigned shared, Stream *handle, void **arguments, void **extra)
{
    BEGIN("cuLaunchKernel");
    if (!result && (by != 1 || bz != 1 || !bx || bx > 1024 || shared > function->shared)) result = INVALID_VALUE;
    if (!result) {
        Work work = {.kind = LAUNCH, .function = function, .grid = {gx, gy, gz}, .threads = bx, .shared = shared};
        result = set_arguments(&work, arguments, extra);
        if (!result) result = enqueue(stream_of(handle), work);
    }
    END;
}

/* Streams and events */

API cuStreamCreate(Stream **stream, unsigned flags)
{
    BEGIN("cuStreamCreate");
    if (!result) {
        *stream = calloc(1, sizeof **stream);
        (*stream)->blocking = !(flags & 1);
        add(&streams, *stream);
    }
    END;
}

API cuStreamDestroy_v2(Stream *stream)
{
    BEGIN("cuStreamDestroy");
    if (!result) drain(stream, stream->count);
    if (!result && stream->destroyed) result = INVALID_HANDLE;
    stream->destroyed = 1; /* its memory stays: events may lead here */
    END;
}

API cuStreamSynchronize(Stream *handle)
{
    Stream *stream = stream_of(handle);
    BEGIN("cuStreamSynchronize");
    if (!result) result = unsafe();
    if (!result && stream->destroyed) result = INVALID_HANDLE;
    if (!result) {
        drain(stream, stream->count);
        result = current()->sticky;
    }
    END;
}

API cuStreamQuery(Stream *handle)
{
    const Stream *stream = stream_of(handle);
    return stream->done == stream->count ? SUCCESS : 600;
}

API cuStreamWaitEvent(Stream *handle, Event *event, unsigned flags)
{
    Stream *stream = stream_of(handle);
    BEGIN("cuStreamWaitEvent");
    (void)flags;
    if (!result && stream->destroyed) result = INVALID_HANDLE;
    if (!result && event->recorded) {
        result = enqueue(stream, (Work){.kind = WAIT, .other = event->stream, .position = event->position});
    }
    END;
}

API cuEventCreate(Event **event, unsigned flags)
{
    BEGIN("cuEventCreate");
    (void)flags;
    if (!result) *event = calloc(1, sizeof **event);
    END;
}

API cuEventDestroy_v2(Event *event)
{
    BEGIN("cuEventDestroy");
    if (!result) {
        drain_all();
        free(event);
    }
    END;
}

API cuEventRecordWithFlags(Event *event, Stream *handle, unsigned flags)
{
    Stream *stream = stream_of(handle);
    BEGIN("cuEventRecord");
    (void)flags;
    if (!result && stream->destroyed) result = INVALID_HANDLE;
    if (!result) result = enqueue(stream, (Work){.kind = MARK, .event = event});
    if (!result && !stream->capture) *event = (Event){stream, stream->count, 0, 1};
    END;
}

API cuEventRecord(Event *event, Stream *handle)
{
    return cuEventRecordWithFlags(event, handle, 0);
}

API cuEventElapsedTime_v2(float *milliseconds, Event *first, Event *last)
{
    BEGIN("cuEventElapsedTime");
    if (!result && !(first->seconds && last->seconds)) result = 600;
    *milliseconds = (float)((last->seconds - first->seconds) * 1e3);
    END;
}

API cuEventElapsedTime(float *milliseconds, Event *first, Event *last)
{
    return cuEventElapsedTime_v2(milliseconds, first, last);
}

/* Graphs: a list of work */

API cuStreamBeginCapture_v2(Stream *stream, int mode)
{
    BEGIN("cuStreamBeginCapture");
    if (!result && ((uintptr_t)stream <= 2 || stream->capture || mode != 1)) result = INVALID_VALUE;
    if (!result) {
        stream->capture = calloc(1, sizeof(Graph));
        stream->capturing = pthread_self();
        stream->invalid = 0;
    }
    END;
}

API cuStreamGetCaptureInfo_v2(Stream *stream, int *status, uint64_t *number, Graph **graph, void ***nodes, size_t *count)
{
    BEGIN("cuStreamGetCaptureInfo");
    List *list = stream->capture ? &stream->capture->nodes : NULL;
    *status = list ? 1 : 0;
    if (number) *number = 1;
    if (graph) *graph = stream->capture;
    if (count) *count = list && list->count ? 1 : 0;
    if (nodes) *nodes = list && list->count ? list->items + list->count - 1 : NULL;
    END;
}

API cuStreamGetCaptureInfo_v3(Stream *stream, int *status, uint64_t *number, Graph **graph, void ***nodes, void **edges,
    size_t *count)
{
    static uint64_t plain; /* CUgraphEdgeData of an ordinary edge; there is one at most */
    if (edges) *edges = &plain;
    return cuStreamGetCaptureInfo_v2(stream, status, number, graph, nodes, count);
}

API cuStreamEndCapture(Stream *stream, Graph **graph)
{
    BEGIN("cuStreamEndCapture");
    *graph = stream->capture;
    stream->capture = NULL;
    if (!result && stream->invalid) result = CAPTURE_INVALIDATED;
    END;
}

typedef struct {
    Graph *graph; /* whose nodes name those of this */
    List nodes;
} Executable;

API cuGraphInstantiateWithFlags(Executable **executable, Graph *graph, unsigned long long flags)
{
    BEGIN("cuGraphInstantiate");
    (void)flags;
    if (!result) {
        *executable = calloc(1, sizeof **executable);
        (*executable)->graph = graph;
        for (size_t i = 0; i < graph->nodes.count; ++i) {
            Work *copy = malloc(sizeof *copy);
            *copy = *(Work *)graph->nodes.items[i];
            add(&(*executable)->nodes, copy);
        }
    }
    END;
}

typedef struct {
    Function *function;
    unsigned grid[3], block[3], shared;
    void **arguments, **extra;
    void *kernel, *context;
} NodeParams;

API cuGraphKernelNodeGetParams_v2(Work *node, NodeParams *params)
{
    BEGIN("cuGraphKernelNodeGetParams");
    if (!result && node->kind != LAUNCH) result = INVALID_VALUE;
    memset(params, 0, sizeof *params);
    params->function = node->function;
    memcpy(params->grid, node->grid, sizeof params->grid);
    params->block[0] = node->threads;
    params->block[1] = params->block[2] = 1;
    params->shared = (unsigned)node->shared;
    END;
}

API cuGraphExecKernelNodeSetParams_v2(Executable *executable, Work *node, const NodeParams *params)
{
    BEGIN("cuGraphExecKernelNodeSetParams");
    size_t i = 0;
    while (i < executable->graph->nodes.count && executable->graph->nodes.items[i] != node) ++i;
    if (!result && i == executable->graph->nodes.count) result = INVALID_VALUE;
    if (!result) {
        Work *work = executable->nodes.items[i];
        work->function = params->function;
        memcpy(work->grid, params->grid, sizeof work->grid);
        work->threads = params->block[0];
        work->shared = params->shared;
        result = set_arguments(work, params->arguments, params->extra);
    }
    END;
}

API cuGraphLaunch(Executable *executable, Stream *handle)
{
    Stream *stream = stream_of(handle);
    BEGIN("cuGraphLaunch");
    if (!result && stream->destroyed) result = INVALID_HANDLE;
    for (size_t i = 0; !result && i < executable->nodes.count; ++i) {
        result = enqueue(stream, *(Work *)executable->nodes.items[i]);
    }
    END;
}

API cuGraphDestroy(Graph *graph)
{
    BEGIN("cuGraphDestroy");
    if (!result) {
        for (size_t i = 0; i < graph->nodes.count; ++i) free(graph->nodes.items[i]);
        free(graph->nodes.items);
        free(graph);
    }
    END;
}

API cuGraphExecDestroy(Executable *executable)
{
    BEGIN("cuGraphExecDestroy");
    if (!result) {
        for (size_t i = 0; i < executable->nodes.count; ++i) free(executable->nodes.items[i]);
        free(executable->nodes.items);
        free(executable);
    }
    END;
}

/* What went wrong, in words */

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {NEW_PTX, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};

static int describe(int code, const char **text, int name)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; ++i) {
        if (errors[i].code != code) continue;
        *text = name ? errors[i].name : errors[i].text;
        return SUCCESS;
    }
    *text = NULL;
    return INVALID_VALUE;
}

API cuGetErrorString(int code, const char **text)
{
    return describe(code, text, 0);
}

API cuGetErrorName(int code, const char **text)
{
    return describe(code, text, 1);
}

/* For the tests: what only a new process gives with a real driver. */

PUBLIC void cuda_stub_reset(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_DEVICES; ++i) contexts[i].sticky = 0;
    emulation_error[0] = 0;
    pthread_mutex_unlock(&lock);
}

PUBLIC size_t cuda_stub_used(int device)
{
    return contexts[device].used;
}

PUBLIC size_t cuda_stub_blocks(void)
{
    return blocks.count;
}

PUBLIC const char *cuda_stub_error(void)
{
    return emulation_error;
}
