/*
 * The server's side of a copy (resync.c): pages of keys and data of files, as they are at this moment. Keeps no state, but
 * answers, as any read, when all that the store held then is committed: a copy that ends halfway and is resumed from
 * another server has no bytes, under an older stamp, of a change that the other never had.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/local.h"
#include "cfsd/volume.h"

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
	struct request *r = request_begin(v, MSG_copy_keys, rq, m);
	struct msg_copy_keys_rep *rep;
	struct batch b;
	bool eof;
	int s;

	if (!r) {
		rpc_reply(rq, -ENOMEM, NULL);
		return;
	}
	batch_init(&b);
	s = collect_keys(v, m, &b, &eof);
	r->record = b.buf;
	rep = r->rep;
	if (!s) {
		rep->items = (struct wire_blob){ b.buf, (uint32_t)b.len };
		rep->eof = eof;
	}
	request_finish(r, s);
}

void resync_serve_data(struct volume *v, struct rpc_req *rq, const struct msg_copy_data_req *m)
{
	struct request *r = request_begin(v, MSG_copy_data, rq, m);
	struct data *d = store_data(v->store);
	size_t len = m->len < DATA_BYTES ? m->len : DATA_BYTES;
	struct msg_copy_data_rep *rep;
	ssize_t n;

	if (!r) {
		rpc_reply(rq, -ENOMEM, NULL);
		return;
	}
	r->record = malloc(len ? len : 1);
	n = r->record ? d->ops->read(d, m->ino, r->record, len, m->off) : -ENOMEM;
	rep = r->rep;
	if (n >= 0)
		rep->data = (struct wire_blob){ r->record, (uint32_t)n };
	request_finish(r, n < 0 ? (int)n : 0);
}
