/* A stand-in for NVIDIA's driver library, libcuda.so.1, that says what the environment tells it to say.

   tests/fake_driver_helpers.py compiles it and puts its folder into LD_LIBRARY_PATH, so that the loader finds it before a
   real driver. It answers the questions of xpnet/backends/driver.py in full. NVIDIA's CUDA runtime (inside CuPy)
   asks it for version and initialisation, which is enough for every failure of a driver. It cannot present a
   working GPU to that runtime: that takes functions that NVIDIA does not document, which are refused here.

     FAKE_CUDA_INIT        status of cuInit (0): 100 no visible GPU, 3, 803, 999, ...
     FAKE_CUDA_VERSION     newest CUDA supported, 1000 * major + 10 * minor (13000)
     FAKE_CUDA_GPUS        number of GPUs (0)
     FAKE_CUDA_CAPABILITY  their compute capability, 10 * major + minor (90) */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_DEVICE = 101, NOT_FOUND = 500 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };

static int setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuInit(unsigned int flags) {
    (void)flags;
    return setting("FAKE_CUDA_INIT", SUCCESS);
}

int cuDriverGetVersion(int *version) {
    *version = setting("FAKE_CUDA_VERSION", 13000);
    return SUCCESS;
}

int cuDeviceGetCount(int *count) {
    *count = setting("FAKE_CUDA_GPUS", 0);
    return SUCCESS;
}

int cuDeviceGet(int *device, int index) {
    *device = index;
    return index < setting("FAKE_CUDA_GPUS", 0) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "NVIDIA Fake %d", device);
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int capability = setting("FAKE_CUDA_CAPABILITY", 90);
    (void)device;
    if (attribute != CAPABILITY_MAJOR && attribute != CAPABILITY_MINOR) return INVALID_VALUE;
    *value = attribute == CAPABILITY_MAJOR ? capability / 10 : capability % 10;
    return SUCCESS;
}

/* Where the CUDA runtime asks for NVIDIA's undocumented tables. */
int cuGetExportTable(const void **table, const void *id) {
    (void)id;
    *table = NULL;
    return NOT_FOUND;
}

/* What the CUDA runtime gets for every function that is not above: it must not be NULL, or the runtime gives up
   before it has asked for the version. */
static int refuse(void) {
    int status = setting("FAKE_CUDA_INIT", SUCCESS);
    return status ? status : NOT_FOUND;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *found);

/* The CUDA runtime gets its functions through this one. */
int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *found) {
    static const struct { const char *name; void *function; } known[] = {
        {"cuInit", (void *)cuInit},
        {"cuDriverGetVersion", (void *)cuDriverGetVersion},
        {"cuDeviceGetCount", (void *)cuDeviceGetCount},
        {"cuDeviceGet", (void *)cuDeviceGet},
        {"cuDeviceGetName", (void *)cuDeviceGetName},
        {"cuDeviceGetAttribute", (void *)cuDeviceGetAttribute},
        {"cuGetExportTable", (void *)cuGetExportTable},
        {"cuGetProcAddress", (void *)cuGetProcAddress_v2},
    };
    (void)version, (void)flags;
    *function = (void *)refuse;
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (!strcmp(name, known[i].name)) *function = known[i].function;
    if (found) *found = 0; /* CU_GET_PROC_ADDRESS_SUCCESS */
    return SUCCESS;
}
