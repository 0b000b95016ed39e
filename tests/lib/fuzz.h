/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a fuzz harness defines; libFuzzer or tests/lib/fuzz_main.c calls it. */
#ifndef TESTS_LIB_FUZZ_H
#define TESTS_LIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
