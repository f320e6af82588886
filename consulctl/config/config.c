/* config.c - the configuration as a whole: its sources in Consul's order, its messages. */
#include "consulctl/config/config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "consulctl/config/args.h"

/* What -dev changes, where it changes what we use. */
static const char dev_defaults[] =
	"bind_addr = \"127.0.0.1\"\n"
	"log_level = \"DEBUG\"\n"
	"server = true\n"
	"disable_keyring_file = true\n"
	"performance { raft_multiplier = 1 }\n"
	"gossip_lan { gossip_interval = \"100ms\" probe_interval = \"100ms\" probe_timeout = \"100ms\" suspicion_mult = 3 }\n"
	"gossip_wan { gossip_interval = \"100ms\" probe_interval = \"100ms\" probe_timeout = \"100ms\" suspicion_mult = 3 }\n";

enum { MESSAGE_MAX = 4096 };

/* ---- messages */

/* Text of any length may come from a command line: what does not fit is cut off. */
static int
add_message(struct buf *err, const char *fmt, va_list ap)
{
	char text[MESSAGE_MAX];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	return buf_adds(err, text);
}

int
config_fail(struct buf *err, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (add_message(err, fmt, ap) < 0)
		rc = -ENOMEM;
	va_end(ap);
	return rc;
}

int
config_fail_at(const struct config *c, struct json_object *v, struct buf *err, const char *fmt, ...)
{
	struct hcl_pos pos = hcl_pos(v);
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = add_message(err, fmt, ap);
	va_end(ap);
	if (rc == 0 && pos.line > 0 && pos.source > 0 && pos.source < c->nsources)
		return config_fail(err, -EINVAL, " (%s, line %u)", c->sources[pos.source], pos.line);
	return rc < 0 ? rc : -EINVAL;
}

void
config_note(struct config *c, enum log_level level, const char *fmt, ...)
{
	struct config_notice *v;
	struct buf text = BUF_INIT(LOG_LINE_MAX);
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vaddf(&text, fmt, ap);
	va_end(ap);
	v = rc == 0 && buf_cstr(&text) != NULL && c->nnotices < CONFIG_NOTICES_MAX ?
	    realloc(c->notices, (c->nnotices + 1) * sizeof(*v)) : NULL;
	if (v == NULL) {
		buf_release(&text);
		return;
	}
	c->notices = v;
	v[c->nnotices++] = (struct config_notice){ level, (const char *)text.data };
}

void
problems_init(struct problems *p, struct config *c, unsigned source)
{
	*p = (struct problems){ c, source, 0, BUF_INIT(CONFIG_ERR_MAX / 2) };
}

/* Beyond its maximum the list is cut: the first problems count. */
void
problem(struct problems *p, struct hcl_pos pos, const char *fmt, ...)
{
	size_t len = p->text.len;
	va_list ap;
	int rc;

	if (p->n++ >= CONFIG_PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	rc = buf_adds(&p->text, "\n\t* ");
	if (rc == 0)
		rc = buf_vaddf(&p->text, fmt, ap);
	if (rc == 0 && pos.line > 0)
		rc = buf_addf(&p->text, " (line %u)", pos.line);
	va_end(ap);
	if (rc < 0)
		p->text.len = len;
}

int
problems_end(struct problems *p, struct buf *err)
{
	int rc = 0;

	if (p->n > 0) {
		rc = config_fail(err, -EINVAL, "failed to parse %s: %u error%s occurred:", p->c->sources[p->source], p->n,
		    p->n == 1 ? "" : "s");
		if (buf_add(err, p->text.data, p->text.len) < 0)
			rc = -ENOMEM;
		if (p->n > CONFIG_PROBLEMS_MAX && rc == -EINVAL)
			rc = config_fail(err, -EINVAL, "\n\t* and more");
	}
	buf_release(&p->text);
	return rc;
}

const struct config_notice *
config_notice(const struct config *c, size_t i)
{
	return i < c->nnotices ? &c->notices[i] : NULL;
}

/* ---- sources */

int
config_add_source(struct config *c, const char *name)
{
	char **v;

	if (c->nsources > HCL_SOURCE_MAX)
		return -ELIMIT;
	v = realloc(c->sources, (c->nsources + 1) * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	c->sources = v;
	v[c->nsources] = strdup(name);
	if (v[c->nsources] == NULL)
		return -ENOMEM;
	return (int)c->nsources++;
}

static struct config *
config_new(void)
{
	struct config *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->tree = json_object_new_object();
	if (c->tree == NULL || config_add_source(c, "") < 0) {
		config_free(c);
		return NULL;
	}
	return c;
}

void
config_free(struct config *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->nnotices; i++)
		free((char *)c->notices[i].text);
	for (size_t i = 0; i < c->nsources; i++)
		free(c->sources[i]);
	free(c->notices);
	free(c->sources);
	json_object_put(c->tree);
	free(c);
}

struct json_object *
config_tree(const struct config *c)
{
	return c->tree;
}

static int
add_defaults(struct config *c, struct buf *err)
{
	struct json_object *raw = json_object_new_object();
	int rc = raw != NULL ? 0 : config_fail(err, -ENOMEM, "out of memory");

	for (size_t i = 0; rc == 0 && i < config_nkeys; i++) {
		const struct config_key *k = &config_keys[i];

		if (k->class == KC_USED && k->dflt != NULL &&
		    config_set(raw, k->path, config_raw_from_text(k->type, k->dflt)) < 0)
			rc = config_fail(err, -ENOMEM, "out of memory");
	}
	if (rc == 0)
		rc = config_add_raw(c, "the defaults", raw, err);
	if (rc == 0 && c->dev)
		rc = config_add_text(c, "the defaults of -dev", str_from(dev_defaults), err);
	json_object_put(raw);
	return rc;
}

static int
add_paths(struct config *c, const char *const *paths, size_t n, const char *format, struct buf *err)
{
	struct config_paths files = { NULL, 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = config_expand_path(c, paths[i], format, &files, err);
	for (size_t i = 0; rc == 0 && i < files.n; i++)
		rc = config_add_file(c, files.v[i], format, err);
	config_paths_release(&files);
	return rc;
}

static int
add_fragments(struct config *c, const struct config_args *a, struct buf *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < a->nfragments; i++) {
		char name[40];

		(void)snprintf(name, sizeof(name), "-hcl flag %zu", i + 1);
		rc = config_add_text(c, name, str_from(a->fragments[i]), err);
	}
	return rc;
}

int
config_load(const struct config_args *a, struct config **ret, struct buf *err)
{
	struct config *c = config_new();
	int rc;

	if (c == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	c->dev = a->dev;
	rc = add_defaults(c, err);
	if (rc == 0)
		rc = config_add_raw(c, "the command line", a->lists, err);
	if (rc == 0)
		rc = add_paths(c, a->paths, a->npaths, a->format, err);
	if (rc == 0)
		rc = config_add_raw(c, "the command line", a->scalars, err);
	if (rc == 0)
		rc = add_fragments(c, a, err);
	if (rc == 0)
		rc = config_resolve(c, err);
	if (rc < 0) {
		config_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

int
config_validate(const char *const *paths, size_t npaths, const char *format, struct buf *err)
{
	struct config *c = config_new();
	int rc;

	if (c == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	c->validating = true;
	rc = add_defaults(c, err);
	if (rc == 0)
		rc = add_paths(c, paths, npaths, format, err);
	if (rc == 0)
		rc = config_resolve(c, err);
	config_free(c);
	return rc;
}
