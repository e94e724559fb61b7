/* A driver that shows one Turing GPU, for tests of what is said and done around a GPU; it computes nothing. */
#include <stddef.h>
#include <string.h>

int cuInit(unsigned flags) { return flags != 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1UL << 34; return device; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Pretended T4", length); return device; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 7 : attribute == 76 ? 5 : 40;
    return device;
}
