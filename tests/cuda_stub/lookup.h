/* The names by which functions are found: cuGetProcAddress, and what pycuda is linked against and the launcher leaves alone. */

#define FOUND(X) \
    X(cuInit) X(cuDriverGetVersion) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetName) X(cuDeviceGetAttribute) \
    X(cuDevicePrimaryCtxRetain) X(cuCtxGetCurrent) X(cuCtxGetDevice) X(cuCtxSynchronize) X(cuMemHostAlloc) \
    X(cuMemFreeHost) X(cuPointerGetAttribute) X(cuMemsetD8Async) X(cuModuleLoadData) X(cuModuleLoadDataEx) \
    X(cuModuleUnload) X(cuModuleGetFunction) X(cuFuncSetAttribute) X(cuLaunchKernel) X(cuStreamCreate) \
    X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamWaitEvent) X(cuEventCreate) X(cuEventRecord) \
    X(cuEventRecordWithFlags) X(cuStreamEndCapture) X(cuGraphLaunch) X(cuGraphDestroy) X(cuGraphExecDestroy) \
    X(cuGetErrorString) X(cuGetErrorName)
#define FOUND_V2(X) \
    X(cuDeviceTotalMem) X(cuDevicePrimaryCtxRelease) X(cuCtxPushCurrent) X(cuCtxPopCurrent) X(cuMemGetInfo) \
    X(cuMemAlloc) X(cuMemFree) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemcpyDtoDAsync) X(cuStreamDestroy) \
    X(cuEventDestroy) X(cuEventElapsedTime) X(cuStreamBeginCapture) X(cuGraphKernelNodeGetParams) \
    X(cuGraphExecKernelNodeSetParams)

API cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status)
{
#define PLAIN(f) {#f, (void *)f},
#define SECOND(f) {#f, (void *)f##_v2},
    static const struct {
        const char *name;
        void *function;
    } table[] = {
        FOUND(PLAIN)
        FOUND_V2(SECOND)
        {"cuGetProcAddress", (void *)cuGetProcAddress_v2},
        {"cuGraphInstantiate", (void *)cuGraphInstantiateWithFlags},
        {"cuGraphInstantiateWithFlags", (void *)cuGraphInstantiateWithFlags},
        {"cuStreamGetCaptureInfo", NULL},
    };
    (void)flags;
    *function = NULL;
    if (status) *status = 1; /* not found */
    for (size_t i = 0; i < sizeof table / sizeof *table; ++i) {
        if (strcmp(table[i].name, name)) continue;
        *function = table[i].function;
        if (!*function) {
            *function = version >= 12030 ? (void *)cuStreamGetCaptureInfo_v3 : (void *)cuStreamGetCaptureInfo_v2;
        }
        if (status) *status = 0;
        return SUCCESS;
    }
    return NOT_FOUND;
}

#define UNSUPPORTED(X) \
    X(cuArray3DCreate_v2) X(cuArray3DGetDescriptor_v2) X(cuArrayCreate_v2) X(cuArrayDestroy) \
    X(cuArrayGetDescriptor_v2) X(cuCtxAttach) X(cuCtxCreate_v4) X(cuCtxDetach) X(cuCtxDisablePeerAccess) \
    X(cuCtxEnablePeerAccess) X(cuCtxGetApiVersion) X(cuCtxGetCacheConfig) X(cuCtxGetLimit) \
    X(cuCtxGetSharedMemConfig) X(cuCtxSetCacheConfig) X(cuCtxSetLimit) X(cuCtxSetSharedMemConfig) \
    X(cuDeviceCanAccessPeer) X(cuDeviceGetByPCIBusId) X(cuDeviceGetPCIBusId) X(cuEventQuery) X(cuEventSynchronize) \
    X(cuFuncGetAttribute) X(cuFuncSetBlockShape) X(cuFuncSetCacheConfig) X(cuFuncSetSharedSize) \
    X(cuIpcCloseMemHandle) X(cuIpcGetEventHandle) X(cuIpcGetMemHandle) X(cuIpcOpenEventHandle) \
    X(cuIpcOpenMemHandle_v2) X(cuLaunch) X(cuLaunchGrid) X(cuLaunchGridAsync) X(cuLinkAddData_v2) \
    X(cuLinkAddFile_v2) X(cuLinkComplete) X(cuLinkCreate_v2) X(cuLinkDestroy) X(cuMemAllocManaged) \
    X(cuMemAllocPitch_v2) X(cuMemGetAddressRange_v2) X(cuMemHostGetDevicePointer_v2) X(cuMemHostGetFlags) \
    X(cuMemHostRegister_v2) X(cuMemHostUnregister) X(cuMemcpy2DAsync_v2) X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2D_v2) \
    X(cuMemcpy3DAsync_v2) X(cuMemcpy3DPeer) X(cuMemcpy3DPeerAsync) X(cuMemcpy3D_v2) X(cuMemcpyAtoA_v2) \
    X(cuMemcpyAtoD_v2) X(cuMemcpyAtoH_v2) X(cuMemcpyDtoA_v2) X(cuMemcpyDtoD_v2) X(cuMemcpyDtoH_v2) \
    X(cuMemcpyHtoA_v2) X(cuMemcpyHtoD_v2) X(cuMemcpyPeer) X(cuMemcpyPeerAsync) X(cuMemsetD16Async) X(cuMemsetD16_v2) \
    X(cuMemsetD2D16Async) X(cuMemsetD2D16_v2) X(cuMemsetD2D32Async) X(cuMemsetD2D32_v2) X(cuMemsetD2D8Async) \
    X(cuMemsetD2D8_v2) X(cuMemsetD32Async) X(cuMemsetD32_v2) X(cuMemsetD8_v2) X(cuModuleGetGlobal_v2) \
    X(cuModuleGetSurfRef) X(cuModuleGetTexRef) X(cuModuleLoad) X(cuParamSetSize) X(cuParamSetTexRef) X(cuParamSetf) \
    X(cuParamSeti) X(cuParamSetv) X(cuProfilerInitialize) X(cuProfilerStart) X(cuProfilerStop) \
    X(cuStreamAttachMemAsync) X(cuSurfRefGetArray) X(cuSurfRefSetArray) X(cuTexRefCreate) X(cuTexRefDestroy) \
    X(cuTexRefGetAddressMode) X(cuTexRefGetAddress_v2) X(cuTexRefGetArray) X(cuTexRefGetFilterMode) \
    X(cuTexRefGetFlags) X(cuTexRefGetFormat) X(cuTexRefSetAddress2D_v3) X(cuTexRefSetAddressMode) \
    X(cuTexRefSetAddress_v2) X(cuTexRefSetArray) X(cuTexRefSetFilterMode) X(cuTexRefSetFlags) X(cuTexRefSetFormat)

#define REFUSING(f) \
    API f(void) \
    { \
        return 801; \
    }
UNSUPPORTED(REFUSING)
