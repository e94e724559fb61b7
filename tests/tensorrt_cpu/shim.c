/*
 * Stands in for libnvinfer, libnvonnxparser and libnvinfer_plugin: each entry point that TensorRT's Python bindings
 * need is handed on to the TensorRT-for-RTX libraries, with their own version number in place of the caller's, which
 * they would refuse. The two are looked up by name at run time, because they export the same symbols as this file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *entry(const char *library, const char *name) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void *address = handle ? dlsym(handle, name) : NULL;
    if (!address) {
        fprintf(stderr, "shim: %s in %s: %s\n", name, library, dlerror());
        exit(96);
    }
    return address;
}

#define INFER(name) entry("libtensorrt_rtx.so.1", name)
#define PARSER(name) entry("libtensorrt_onnxparser_rtx.so.1", name)

static int32_t own_version(void) {
    return ((int32_t(*)(void))INFER("getInferLibVersion"))();
}

void *createInferBuilder_INTERNAL(void *logger, int32_t version) {
    (void)version;
    return ((void *(*)(void *, int32_t))INFER("createInferBuilder_INTERNAL"))(logger, own_version());
}

void *createInferRuntime_INTERNAL(void *logger, int32_t version) {
    (void)version;
    return ((void *(*)(void *, int32_t))INFER("createInferRuntime_INTERNAL"))(logger, own_version());
}

void *createInferRefitter_INTERNAL(void *engine, void *logger, int32_t version) {
    (void)version;
    return ((void *(*)(void *, void *, int32_t))INFER("createInferRefitter_INTERNAL"))(engine, logger, own_version());
}

void *getBuilderPluginRegistry(int32_t capability) {
    return ((void *(*)(int32_t))INFER("getBuilderPluginRegistry"))(capability);
}

void *getPluginRegistry(void) {
    return ((void *(*)(void))INFER("getPluginRegistry"))();
}

void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) {
    return ((void *(*)(void *, void *, int))PARSER("createNvOnnxParser_INTERNAL"))(network, logger, version);
}

void *createNvOnnxParserRefitter_INTERNAL(void *refitter, void *logger, int32_t version) {
    return ((void *(*)(void *, void *, int32_t))PARSER("createNvOnnxParserRefitter_INTERNAL"))(refitter, logger, version);
}

int getNvOnnxParserVersion(void) {
    return ((int (*)(void))PARSER("getNvOnnxParserVersion"))();
}

bool initLibNvInferPlugins(void *logger, const char *name_space) {
    (void)logger;
    (void)name_space;
    return true;
}
