/* A stand-in for libnvidia-ml.so.1, the outermost edge of what a machine without an NVIDIA GPU cannot have.
 *
 * The cards are lines of the file NVML_STAND_IN: name|uuid|minor|MiB|pids with blanks|MIG profiles with blanks.
 * What they do is lines of the file NVML_STAND_IN_USE, read at each question: uuid|used MiB|per cent.
 * A card whose node NVML_STAND_IN_DEV/nvidia<minor> does not exist is not there, as in a container that did not get it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, BAD = 2, UNSUPPORTED = 3, ABSENT = 6, SMALL = 7, NO_DRIVER = 9, CARDS = 16, PARTS = 8 };

typedef struct card {
    char name[96], uuid[80];
    int minor, index, partitioned, processes, pids[8], parts;
    unsigned long long mebibytes;
    struct card *part[PARTS], *whole;
} card;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci;

static card cards[CARDS];
static int count = -1;

static void part(card *whole, const char *profile) {
    card *one = calloc(1, sizeof *one);
    int slices = 0, gibibytes = 0;
    sscanf(profile, "%dg.%dgb", &slices, &gibibytes);
    snprintf(one->name, sizeof one->name, "%s MIG %s", whole->name, profile);
    snprintf(one->uuid, sizeof one->uuid, "MIG-%s-%d", whole->uuid + 4, whole->parts);
    one->minor = whole->minor;
    one->index = whole->parts;
    one->mebibytes = gibibytes * 1024ULL;
    one->whole = whole;
    whole->partitioned = 1;
    whole->part[whole->parts++] = one;
}

static void parse(char *line) {
    card *one = &cards[count];
    char *field[6] = {0}, *rest = line;
    line[strcspn(line, "\n")] = 0;
    for (int i = 0; i < 6 && rest; i++) field[i] = strsep(&rest, "|");
    if (!field[3]) return;
    snprintf(one->name, sizeof one->name, "%s", field[0]);
    snprintf(one->uuid, sizeof one->uuid, "%s", field[1]);
    one->minor = atoi(field[2]);
    one->mebibytes = strtoull(field[3], 0, 10);
    for (char *pid; field[4] && (pid = strsep(&field[4], " "));)
        if (*pid) one->pids[one->processes++] = atoi(pid);
    for (char *profile; field[5] && (profile = strsep(&field[5], " "));)
        if (*profile) part(one, profile);
    char node[256];
    const char *dev = getenv("NVML_STAND_IN_DEV");
    snprintf(node, sizeof node, "%s/nvidia%d", dev ? dev : "", one->minor);
    if (dev && access(node, F_OK)) return;
    one->index = count++;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *path = getenv("NVML_STAND_IN");
    FILE *file = path ? fopen(path, "r") : 0;
    char line[512];
    count = 0;
    memset(cards, 0, sizeof cards);
    while (file && count < CARDS && fgets(line, sizeof line, file)) {
        memset(&cards[count], 0, sizeof cards[count]);
        parse(line);
    }
    if (file) fclose(file);
    return file ? OK : NO_DRIVER;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int error) { return error == NO_DRIVER ? "Driver Not Loaded" : "stand-in"; }
static int text(char *to, unsigned size, const char *from) { return snprintf(to, size, "%s", from) < (int)size ? OK : SMALL; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { return text(to, size, "580.95.05"); }
int nvmlDeviceGetCount_v2(unsigned *to) { *to = count; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned at, card **to) { *to = &cards[at]; return (int)at < count ? OK : BAD; }
int nvmlDeviceGetName(card *one, char *to, unsigned size) { return text(to, size, one->name); }
int nvmlDeviceGetUUID(card *one, char *to, unsigned size) { return text(to, size, one->uuid); }
int nvmlDeviceGetMinorNumber(card *one, unsigned *to) { *to = one->minor; return OK; }
static void use(const card *one, unsigned *mebibytes, unsigned *per_cent) {
    const char *path = getenv("NVML_STAND_IN_USE");
    FILE *file = path ? fopen(path, "r") : 0;
    char line[256];
    *mebibytes = *per_cent = 0;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, one->uuid, strlen(one->uuid)) && line[strlen(one->uuid)] == '|')
            sscanf(line + strlen(one->uuid), "|%u|%u", mebibytes, per_cent);
    if (file) fclose(file);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, card **to) {
    for (int i = 0; i < count; i++) {
        if (!strcmp(cards[i].uuid, uuid)) return *to = &cards[i], OK;
        for (int j = 0; j < cards[i].parts; j++)
            if (!strcmp(cards[i].part[j]->uuid, uuid)) return *to = cards[i].part[j], OK;
    }
    return ABSENT;
}
int nvmlDeviceGetUtilizationRates(card *one, unsigned *to) {
    unsigned mebibytes;
    use(one, &mebibytes, &to[0]);
    to[1] = 0;
    return one->whole ? UNSUPPORTED : OK; /* a part of a card does not tell */
}
int nvmlDeviceGetMemoryInfo(card *one, memory *to) {
    if (!one->mebibytes) return UNSUPPORTED; /* cards that share the memory of the machine */
    unsigned mebibytes, per_cent;
    use(one, &mebibytes, &per_cent);
    to->total = one->mebibytes << 20;
    to->used = (unsigned long long)mebibytes << 20;
    to->free = to->total - to->used;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(card *one, unsigned *size, process *to) {
    unsigned room = *size;
    *size = one->processes;
    if ((int)room < one->processes) return SMALL;
    for (int i = 0; i < one->processes; i++) to[i] = (process){one->pids[i], 1 << 30, ~0u, ~0u};
    return OK;
}
int nvmlDeviceGetMigMode(card *one, unsigned *now, unsigned *pending) {
    *now = *pending = one->partitioned;
    return strstr(one->name, "T4") ? UNSUPPORTED : OK;
}
int nvmlDeviceGetMaxMigDeviceCount(card *one, unsigned *to) { *to = one->partitioned ? 7 : 0; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(card *one, unsigned at, card **to) {
    if ((int)at >= one->parts) return ABSENT;
    *to = one->part[at];
    return OK;
}
int nvmlDeviceGetGpuInstanceId(card *one, unsigned *to) { *to = one->index + 7; return OK; }
int nvmlDeviceGetComputeInstanceId(card *one, unsigned *to) { (void)one; *to = 0; return OK; }
int nvmlDeviceGetPciInfo_v3(card *one, pci *to) {
    memset(to, 0, sizeof *to);
    snprintf(to->bus_id, sizeof to->bus_id, "00000000:%02X:00.0", one->index + 1);
    return OK;
}
