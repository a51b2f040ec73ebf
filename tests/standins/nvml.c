/* A stand-in for NVML: two GPUs whose every answer a test can script.
   Every nvml_standin_* function is the test's; the others are nvml.h's, with its units and layouts. */
#include <stdio.h>
#include <string.h>

#define GPUS 2
#define MOST_RULES 64
#define MOST_PROCESSES 8

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };
enum { CLOCK_GRAPHICS = 0, CLOCK_SM = 1, CLOCK_MEM = 2 };
enum { COMPUTE, GRAPHICS, KINDS };

/* What is a number, with what GPU 0 says at first: MHz, mW, mJ, degrees, bytes. */
#define FIELDS(X) \
    X(domain, 0) X(bus, 0x1b) X(device, 0) X(pci, 0x233010deLL) X(memory_total, 85520809984LL) \
    X(memory_free, 84000000000LL) X(mig, 0) X(ecc, 1) X(power, 690000) X(power_limit, 700000) \
    X(power_default, 700000) X(energy, 1000000) X(sm_clock, 1755) X(memory_clock, 2619) X(max_sm_clock, 1980) \
    X(application_clock, 1980) X(application_default, 1980) X(generation, 5) X(generation_most, 5) X(width, 16) \
    X(width_most, 16) X(temperature, 55) X(reasons, 0)

#define NAME(field, value) F_##field,
#define INITIAL(field, value) value,
#define TEXT(field, value) #field,
enum { FIELDS(NAME) FIELD_COUNT };
static const long long initial[] = {FIELDS(INITIAL)};
static const char *const field_names[] = {FIELDS(TEXT)};

struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };

static struct gpu {
    long long field[FIELD_COUNT];
    char name[128], uuid[128];
    struct process processes[KINDS][MOST_PROCESSES];
    unsigned process_count[KINDS];
} gpus[GPUS];

static struct rule { char function[64]; int error, after, calls; } rules[MOST_RULES];
static unsigned gpu_count = GPUS, rule_count;
static int initialized;

/* Forget every script, counter and initialisation. */
void nvml_standin_reset(void)
{
    memset(gpus, 0, sizeof gpus);
    memset(rules, 0, sizeof rules);
    rule_count = 0;
    initialized = 0;
    gpu_count = GPUS;
    for (int i = 0; i < GPUS; i++) {
        memcpy(gpus[i].field, initial, sizeof initial);
        gpus[i].field[F_bus] += 0x11 * i;
        snprintf(gpus[i].name, sizeof gpus[i].name, "A stand-in GPU");
        snprintf(gpus[i].uuid, sizeof gpus[i].uuid, "GPU-00000000-0000-0000-0000-00000000000%d", i);
    }
}

__attribute__((constructor)) static void load(void) { nvml_standin_reset(); }

void nvml_standin_count(unsigned count) { gpu_count = count; }

int nvml_standin_set(unsigned gpu, const char *field, long long value)
{
    for (int i = 0; i < FIELD_COUNT; i++)
        if (!strcmp(field_names[i], field)) { gpus[gpu].field[i] = value; return 1; }
    return 0;
}

void nvml_standin_name(unsigned gpu, const char *name) { snprintf(gpus[gpu].name, sizeof gpus[gpu].name, "%s", name); }

void nvml_standin_process(unsigned gpu, int kind, unsigned pid)
{
    gpus[gpu].processes[kind][gpus[gpu].process_count[kind]++].pid = pid;
}

static struct rule *rule(const char *function)
{
    for (unsigned i = 0; i < rule_count; i++)
        if (!strcmp(rules[i].function, function)) return &rules[i];
    snprintf(rules[rule_count].function, sizeof rules[rule_count].function, "%s", function);
    return &rules[rule_count++];
}

/* From its call number `after` on (from 0), `function` answers `error`; 0 ends that. */
void nvml_standin_fail(const char *function, int error, int after)
{
    struct rule *found = rule(function);
    found->error = error;
    found->after = found->calls + after;
}

int nvml_standin_calls(const char *function) { return rule(function)->calls; }

static int enter(const char *function)
{
    struct rule *found = rule(function);
    if (found->calls++ >= found->after && found->error) return found->error;
    return initialized ? SUCCESS : UNINITIALIZED;
}

static int put(char *text, unsigned size, const char *value)
{
    if (size <= strlen(value)) return INSUFFICIENT_SIZE;
    strcpy(text, value);
    return SUCCESS;
}

static int known(const struct gpu *gpu) { return gpu == &gpus[0] || gpu == &gpus[1]; }

#define ENTER do { int error = enter(__func__); if (error) return error; } while (0)
#define ENTER_GPU ENTER; if (!known(gpu)) return INVALID_ARGUMENT

/* A query of one number. */
#define NUMBER(function, type, name) \
    int function(struct gpu *gpu, type *value) \
    { ENTER_GPU; *value = (type)gpu->field[F_##name]; return SUCCESS; }

NUMBER(nvmlDeviceGetPowerUsage, unsigned, power)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, power_limit)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, power_default)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, energy)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, reasons)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, reasons)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, generation)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, generation_most)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, width)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, width_most)

/* A query of a clock, which answers for one type and not for the others. */
#define CLOCK(function, type, name) \
    int function(struct gpu *gpu, unsigned which, unsigned *value) \
    { ENTER_GPU; if (which != type) return NOT_SUPPORTED; *value = (unsigned)gpu->field[F_##name]; return SUCCESS; }

CLOCK(nvmlDeviceGetMaxClockInfo, CLOCK_SM, max_sm_clock)
CLOCK(nvmlDeviceGetApplicationsClock, CLOCK_GRAPHICS, application_clock)
CLOCK(nvmlDeviceGetDefaultApplicationsClock, CLOCK_GRAPHICS, application_default)

int nvmlDeviceGetClockInfo(struct gpu *gpu, unsigned which, unsigned *value)
{
    ENTER_GPU;
    if (which != CLOCK_SM && which != CLOCK_MEM) return INVALID_ARGUMENT;
    long long clock = gpu->field[which == CLOCK_SM ? F_sm_clock : F_memory_clock];
    /* A negative one: this GPU does not have it. */
    if (clock < 0) return NOT_SUPPORTED;
    *value = (unsigned)clock;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(struct gpu *gpu, unsigned sensor, unsigned *value)
{
    ENTER_GPU;
    if (sensor != 0) return INVALID_ARGUMENT;
    *value = (unsigned)gpu->field[F_temperature];
    return SUCCESS;
}

struct temperature { unsigned version, sensor; int value; };

int nvmlDeviceGetTemperatureV(struct gpu *gpu, struct temperature *temperature)
{
    ENTER_GPU;
    if (temperature->sensor != 0) return INVALID_ARGUMENT;
    temperature->value = (int)gpu->field[F_temperature];
    return SUCCESS;
}

/* A query of what is and of what will be after a restart, which is the opposite here. */
#define MODE(function, name) \
    int function(struct gpu *gpu, unsigned *current, unsigned *pending) \
    { ENTER_GPU; *current = (unsigned)gpu->field[F_##name]; *pending = !*current; return SUCCESS; }

MODE(nvmlDeviceGetMigMode, mig)
MODE(nvmlDeviceGetEccMode, ecc)

struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetMemoryInfo(struct gpu *gpu, struct memory *memory)
{
    ENTER_GPU;
    memory->total = (unsigned long long)gpu->field[F_memory_total];
    memory->free = (unsigned long long)gpu->field[F_memory_free];
    memory->used = memory->total - memory->free;
    return SUCCESS;
}

struct pci { char legacy[16]; unsigned domain, bus, device, pci_device_id, subsystem; char bus_id[32]; };

int nvmlDeviceGetPciInfo_v3(struct gpu *gpu, struct pci *pci)
{
    ENTER_GPU;
    memset(pci, 0, sizeof *pci);
    pci->domain = (unsigned)gpu->field[F_domain];
    pci->bus = (unsigned)gpu->field[F_bus];
    pci->device = (unsigned)gpu->field[F_device];
    pci->pci_device_id = (unsigned)gpu->field[F_pci];
    snprintf(pci->bus_id, sizeof pci->bus_id, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
    return SUCCESS;
}

static int list(const struct gpu *gpu, int kind, unsigned *count, struct process *processes)
{
    unsigned room = *count;
    *count = gpu->process_count[kind];
    if (room < *count || (*count && !processes)) return INSUFFICIENT_SIZE;
    if (*count) memcpy(processes, gpu->processes[kind], *count * sizeof *processes);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *gpu, unsigned *count, struct process *processes)
{ ENTER_GPU; return list(gpu, COMPUTE, count, processes); }

int nvmlDeviceGetGraphicsRunningProcesses_v3(struct gpu *gpu, unsigned *count, struct process *processes)
{ ENTER_GPU; return list(gpu, GRAPHICS, count, processes); }

int nvmlDeviceGetName(struct gpu *gpu, char *text, unsigned size) { ENTER_GPU; return put(text, size, gpu->name); }

int nvmlDeviceGetUUID(struct gpu *gpu, char *text, unsigned size) { ENTER_GPU; return put(text, size, gpu->uuid); }

int nvmlDeviceGetCount_v2(unsigned *count) { ENTER; *count = gpu_count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **gpu)
{
    ENTER;
    if (index >= gpu_count) return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *text, unsigned size) { ENTER; return put(text, size, "580.65.06"); }

int nvmlSystemGetCudaDriverVersion_v2(int *version) { ENTER; *version = 13000; return SUCCESS; }

const char *nvmlErrorString(int error) { return error == SUCCESS ? "Success" : "An error of the stand-in"; }

/* How often initialised without a shutdown. */
int nvml_standin_open(void) { return initialized; }

int nvmlInitWithFlags(unsigned flags)
{
    int error = enter(__func__);
    if (error && error != UNINITIALIZED) return error;
    initialized++;
    return flags ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlShutdown(void) { ENTER; initialized--; return SUCCESS; }
