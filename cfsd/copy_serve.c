/* The server's side of a copy (resync.c): pages of keys and data of files, as they are at this moment. Keeps no state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/local.h"
#include "cfsd/volume.h"
#include "common/cleanup.h"

enum { PAGE_BYTES = 1 << 20, DATA_BYTES = 1 << 20 };

static bool same_key(const void *a, size_t alen, const struct wire_blob *b)
{
	return alen == b->len && !memcmp(a, b->p, alen);
}

static int collect_keys(struct volume *v, const struct msg_copy_keys_req *m, struct batch *b, bool *ret_eof)
{
	struct meta *meta = store_meta(v->store);
	struct meta_iter *it;
	const void *key, *val;
	size_t klen, vlen;
	uint32_t max = m->max_bytes < PAGE_BYTES ? m->max_bytes : PAGE_BYTES;
	int r = meta->ops->iter_new(meta, m->after.p, m->after.len, &it);

	if (r < 0)
		return r;
	while ((r = meta->ops->iter_next(it, &key, &klen, &val, &vlen)) > 0) {
		if (local_is_key(key, klen) || same_key(key, klen, &m->after))
			continue;
		if (b->len && b->len + klen + vlen > max)
			break;
		if (batch_put(b, key, klen, val, vlen) < 0)
			break;
	}
	meta->ops->iter_free(it);
	*ret_eof = r == 0;
	return r < 0 ? r : b->err;
}

void resync_serve_keys(struct volume *v, struct rpc_req *rq, const struct msg_copy_keys_req *m)
{
	struct msg_copy_keys_rep rep = { 0 };
	struct batch b;
	bool eof;
	int r;

	batch_init(&b);
	r = collect_keys(v, m, &b, &eof);
	if (!r) {
		rep.items = (struct wire_blob){ b.buf, (uint32_t)b.len };
		rep.eof = eof;
	}
	rpc_reply(rq, r, &rep);
	batch_release(&b);
}

void resync_serve_data(struct volume *v, struct rpc_req *rq, const struct msg_copy_data_req *m)
{
	struct data *d = store_data(v->store);
	size_t len = m->len < DATA_BYTES ? m->len : DATA_BYTES;
	_cleanup_free_ void *buf = malloc(len ? len : 1);
	struct msg_copy_data_rep rep = { 0 };
	ssize_t n = buf ? d->ops->read(d, m->ino, buf, len, m->off) : -ENOMEM;

	if (n >= 0)
		rep.data = (struct wire_blob){ buf, (uint32_t)n };
	rpc_reply(rq, n < 0 ? (int)n : 0, &rep);
}
