/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scan answers of another node: what is decoded must lie inside, and encode to the same bytes again. */
#include "procfs-cluster/scan.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzz.h"

static void require(int ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct wire_reader r = { data, data + len };
	struct wire_writer w;
	struct scan_proc p;
	unsigned number;
	struct text t;
	int got;

	wire_writer_init(&w);
	while ((got = scan_get(&r, &p)) > 0)
		require(scan_put(&w, &p) == 0);
	if (!got)
		require(w.len == len && (!len || !memcmp(w.buf, data, len)));
	w.len = 0;
	r = (struct wire_reader){ data, data + len };
	while ((got = scan_get_node(&r, &number, &t)) > 0)
		require(scan_put_node(&w, number, t.p, text_len(t)) == 0);
	if (!got)
		require(w.len == len && (!len || !memcmp(w.buf, data, len)));
	wire_writer_release(&w);
	return 0;
}
