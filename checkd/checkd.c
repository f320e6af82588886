/* checkd.c - what the files of checkd share. */
#include "checkd/kinds.h"
#include "checkd/sync.h"

const char *
checkd_node(const struct checkd *cd)
{
	return cfg_str(cd->started_with, "node_name", "");
}

const char *
checkd_datacenter(const struct checkd *cd)
{
	return cfg_str(cd->started_with, "datacenter", "dc1");
}

size_t
checkd_output_max(const struct check *c)
{
	/* A definition may ask for more or less than the node's setting. */
	if (c->def != NULL && c->def->output_max_size > 0)
		return (size_t)(c->def->output_max_size > MiB ? MiB : c->def->output_max_size);
	return c->cd->output_max;
}

void
checkd_changed(struct checkd *cd)
{
	if (cd->d->draining)
		return;
	loop_defer(&cd->d->loop, DEFER_WORK, &cd->changed);
	sync_poke(cd);
}

void
checkd_on_changed(struct defer *d)
{
	struct checkd *cd = (struct checkd *)(void *)((char *)d - offsetof(struct checkd, changed));

	alias_evaluate(cd);
	ops_wake(cd);
}
