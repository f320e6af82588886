/*
 * acl_parked.c - the rights of reads that wait.
 *
 * Each parked read hangs on the entry of its token. When the ACL state has
 * changed, or the token may have expired, each such entry is looked at once,
 * however many wait with it: the same rights, and they stay parked; others,
 * or none any more, and all of them are answered.
 */
#include <stdlib.h>

#include "raftd/acl.h"

enum { EXPIRY_MS = 250 };	/* how often tokens that expire are looked at while reads wait with them */

static void on_expiry(uv_timer_t *t);

/* The token in the options of a request. False: they cannot be read. */
static bool
token_of(struct str body, struct str *ret)
{
	struct arena none = ARENA_INIT(0);
	struct mp_r in = mp_r_init(body.p, body.len);
	struct query_options o;

	if (record_decode(&rec_query_options, &in, &o, &none) < 0)
		return false;
	*ret = o.token;
	return true;
}

static void
held_in(struct acl *a, struct acl_entry *e)
{
	e->held_next = a->held;
	e->held_prev = &a->held;
	if (a->held != NULL)
		a->held->held_prev = &e->held_next;
	a->held = e;
	acl_entry_held(a, e);
}

static void
held_out(struct acl *a, struct acl_entry *e)
{
	*e->held_prev = e->held_next;
	if (e->held_next != NULL)
		e->held_next->held_prev = e->held_prev;
	acl_entry_unheld(a, e);
}

int
acl_hold(struct raftd *r, struct acl_hold *h, struct str body, bool local)
{
	struct acl *a = r->acl;
	struct acl_entry *e;
	struct str token;
	int rc;

	h->entry = NULL;
	if (a == NULL)
		return 0;
	if (!token_of(body, &token))
		return -EDECODE;
	rc = acl_entry_of(a, token, local, &e);
	if (rc < 0)
		return rc;
	if (e->holds == NULL)
		held_in(a, e);
	h->entry = e;
	h->next = e->holds;
	h->prev = &e->holds;
	if (e->holds != NULL)
		e->holds->prev = &h->next;
	e->holds = h;
	if (e->rights.expires != 0 && !uv_is_active((uv_handle_t *)&a->timer))
		(void)uv_timer_start(&a->timer, on_expiry, EXPIRY_MS, EXPIRY_MS);
	return 0;
}

void
acl_unhold(struct raftd *r, struct acl_hold *h)
{
	struct acl_entry *e = h->entry;

	if (e == NULL)
		return;
	*h->prev = h->next;
	if (h->next != NULL)
		h->next->prev = h->prev;
	h->entry = NULL;
	if (e->holds == NULL)
		held_out(r->acl, e);
}

/* ---- looking again */

void
acl_ask_again(struct raftd *r, struct acl_hold *first)
{
	for (struct acl_hold *h = first; h != NULL; h = h->next)
		watch_ask_again(r, h);
}

static void
look_at(struct acl *a, struct acl_entry *e)
{
	struct str token;

	/* Those of a token that has gone have been told of it. */
	if (!e->known || !token_of(watch_body(e->holds), &token))
		return;
	if (acl_entry_again(a, e, token))
		acl_ask_again(a->r, e->holds);
}

/* Whoever is asked again stays where he is until he is answered: the list does not change meanwhile. */
static void
on_look(struct defer *d)
{
	struct acl *a = (struct acl *)((char *)d - offsetof(struct acl, look));

	for (struct acl_entry *e = a->held; e != NULL; e = e->held_next)
		look_at(a, e);
}

static void
on_expiry(uv_timer_t *t)
{
	struct acl *a = t->data;
	bool any = false;

	for (struct acl_entry *e = a->held; e != NULL; e = e->held_next) {
		any = any || e->rights.expires != 0;
		if (acl_rights_expired(&e->rights))
			look_at(a, e);
	}
	if (!any)
		(void)uv_timer_stop(t);
}

void
acl_touched(struct raftd *r)
{
	if (r->acl != NULL && r->acl->held != NULL)
		loop_defer(&r->d->loop, DEFER_WORK, &r->acl->look);
}

void
acl_state_replaced(struct raftd *r)
{
	if (r->acl != NULL)
		r->acl->life++;
}

/* ---- start and end */

void
acl_parked_init(struct acl *a)
{
	a->look.cb = on_look;
	(void)uv_timer_init(&a->r->d->loop.uv, &a->timer);
	a->timer.data = a;
}

static void
on_closed(uv_handle_t *h)
{
	free(h->data);
}

/* The last of it: a goes with the timer. */
void
acl_parked_release(struct acl *a)
{
	loop_undefer(&a->r->d->loop, DEFER_WORK, &a->look);
	uv_close((uv_handle_t *)&a->timer, on_closed);
}
