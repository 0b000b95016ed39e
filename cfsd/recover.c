/*
 * Serving from what is left: this node's copy lost writes and is the only one there is. A worker makes it fit
 * (store_recover()), at a position that no other copy has: all that follow copy everything.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cfsd/local.h"
#include "cfsd/volume.h"
#include "common/log.h"

struct recovery {
	uv_work_t work;
	struct volume *v; /* a reference */
	uint64_t epoch;
	int status;
};

static void run(uv_work_t *work)
{
	struct recovery *rec = work->data;
	struct store *s = rec->v->store;

	rec->status = store_recover(s, rec->epoch);
	/* The last step: until then another start does all of it again. */
	if (!rec->status)
		rec->status = local_note_opened(s);
}

static void done(struct volume *v, uint64_t epoch, int status)
{
	struct repl_event ev = { .type = REPL_EV_RECOVERED, .epoch = epoch, .status = status };

	v->recovering = false;
	if (v->closed)
		return;
	if (status < 0) {
		log_error("fs", "%s: what is left cannot be served from: %s", v->name, strerror(-status));
		v->store_broken = true;
	} else {
		log_warn("fs", "%s: serving from what was synced, and what else is left", v->name);
		v->distrust = false;
		repl_log_reset(v->log, store_position(v->store));
	}
	ev.pos = store_position(v->store);
	volume_step(v, &ev);
}

static void ended(uv_work_t *work, int cancelled)
{
	struct recovery *rec = work->data;

	rec->v->nr_workers--;
	done(rec->v, rec->epoch, cancelled ? cancelled : rec->status);
	volume_unref(rec->v);
	free(rec);
}

void recover_start(struct volume *v, uint64_t epoch)
{
	struct recovery *rec = malloc(sizeof(*rec));
	int r = rec ? 0 : -ENOMEM;

	/* An earlier attempt failed. */
	if (!r && v->store_broken)
		r = volume_reopen(v);
	if (!r) {
		*rec = (struct recovery){ .v = v, .epoch = epoch };
		rec->work.data = rec;
		r = uv_queue_work(v->svc->conf.loop, &rec->work, run, ended);
	}
	if (r < 0) {
		free(rec);
		done(v, epoch, r);
		return;
	}
	log_warn("fs", "%s: every copy in sync lost what was not synced; this one, at %" PRIu64 ", is the longest", v->name,
		 store_position(v->store).lsn);
	v->recovering = true;
	v->refs++;
	v->nr_workers++;
}
