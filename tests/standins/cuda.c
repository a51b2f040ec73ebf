/* A stand-in for the CUDA driver library: its version, and GPUs that a test scripts.
   Every cuda_standin_* function is the test's; the others are cuda.h's, with its attribute numbers. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MOST_GPUS 8
#define MOST_RULES 16

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, INVALID_DEVICE = 101 };
enum { SM_COUNT = 16, L2_BYTES = 38, MAJOR = 75, MINOR = 76 };

struct gpu {
    char name[128], bus_id[32];
    int sm_count, l2_bytes, major, minor;
    unsigned long long memory;
};

static struct gpu gpus[MOST_GPUS];
static struct { char function[64]; int error; } rules[MOST_RULES];
static int gpu_count, rule_count, initialized, scripted;

void cuda_standin_gpu(const char *name, const char *bus_id, int sm_count, unsigned long long memory)
{
    struct gpu *gpu = &gpus[gpu_count++];
    scripted = 1;
    snprintf(gpu->name, sizeof gpu->name, "%s", name);
    snprintf(gpu->bus_id, sizeof gpu->bus_id, "%s", bus_id);
    gpu->sm_count = sm_count;
    gpu->memory = memory;
    gpu->l2_bytes = 50 * 1024 * 1024;
    gpu->major = 9;
    gpu->minor = 0;
}

/* Forget everything; no GPU is left. */
void cuda_standin_reset(void)
{
    gpu_count = rule_count = initialized = 0;
    scripted = 1;
}

void cuda_standin_fail(const char *function, int error)
{
    snprintf(rules[rule_count].function, sizeof rules[rule_count].function, "%s", function);
    rules[rule_count++].error = error;
}

static int failure(const char *function)
{
    for (int i = 0; i < rule_count; i++)
        if (!strcmp(rules[i].function, function)) return rules[i].error;
    return SUCCESS;
}

static int enter(const char *function, int device)
{
    int error = failure(function);
    if (error) return error;
    if (!initialized) return NOT_INITIALIZED;
    return device >= 0 && device < gpu_count ? SUCCESS : INVALID_DEVICE;
}

#define ENTER(device) do { int error = enter(__func__, device); if (error) return error; } while (0)

static int put(char *text, int size, const char *value)
{
    if (size <= (int)strlen(value)) return INVALID_VALUE;
    strcpy(text, value);
    return SUCCESS;
}

int cuInit(unsigned flags)
{
    int error = failure(__func__);
    if (error || flags) return error ? error : INVALID_VALUE;
    if (!scripted) {
        cuda_standin_gpu("A stand-in GPU", "0000:1B:00.0", 132, 80ULL << 30);
        cuda_standin_gpu("A stand-in GPU", "0000:2C:00.0", 132, 80ULL << 30);
    }
    initialized = 1;
    return SUCCESS;
}

int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return failure(__func__);
}

int cuDeviceGetCount(int *count)
{
    int error = failure(__func__);
    if (error) return error;
    *count = gpu_count;
    return initialized ? SUCCESS : NOT_INITIALIZED;
}

/* Handles differ from indices, so that one cannot pass for the other. */
#define HANDLE 100

int cuDeviceGet(int *device, int index)
{
    ENTER(index);
    *device = HANDLE + index;
    return SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device)
{
    ENTER(device - HANDLE);
    return put(name, size, gpus[device - HANDLE].name);
}

int cuDeviceGetPCIBusId(char *bus_id, int size, int device)
{
    ENTER(device - HANDLE);
    return put(bus_id, size, gpus[device - HANDLE].bus_id);
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    ENTER(device - HANDLE);
    *bytes = gpus[device - HANDLE].memory;
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    ENTER(device - HANDLE);
    const struct gpu *gpu = &gpus[device - HANDLE];
    switch (attribute) {
    case SM_COUNT: *value = gpu->sm_count; return SUCCESS;
    case L2_BYTES: *value = gpu->l2_bytes; return SUCCESS;
    case MAJOR: *value = gpu->major; return SUCCESS;
    case MINOR: *value = gpu->minor; return SUCCESS;
    default: return INVALID_VALUE;
    }
}
