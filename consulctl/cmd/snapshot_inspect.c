/*
 * snapshot_inspect.c - consulctl snapshot inspect: what a file holds, without
 * an agent.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "consulctl/client/errtext.h"
#include "consulctl/commands.h"
#include "consulctl/table.h"
#include "consulctl/value.h"
#include "lib/json.h"
#include "lib/mp.h"
#include "lib/snap_archive.h"

static const struct option options[] = {
	{ "format", OPT_STR, "format", "pretty", "How to print it: pretty or json." },
	{ "kvdetails", OPT_BOOL, NULL, NULL, "Show also how much lies below which keys." },
	{ "kvdepth", OPT_INT, "levels", "2", "With -kvdetails: how many levels of keys are told apart." },
	{ "kvfilter", OPT_STR, "prefix", NULL, "With -kvdetails: only keys that begin with this." },
	{ NULL, OPT_BOOL, NULL, NULL, NULL },
};

enum { KEY_BYTES_MAX = 1024 * MiB };

/* Bytes and number of the records of one kind, or below one prefix. */
struct count {
	size_t at, len;		/* of the name, in the text of its list */
	uint64_t sum, count;
};

struct counts {
	struct count *v;
	size_t n, cap;
	struct buf text;
	uint64_t total;
};

struct inspection {
	const struct options *o;
	bool kv;
	size_t depth;
	struct str filter;
	bool told;		/* the container is right */
	uint64_t seen;		/* bytes of state.bin up to the last record's end */
	struct count kinds[256];
	struct counts by_kind, by_prefix;
};

/* ---- counting */

static int
add(struct counts *c, struct str name, uint64_t sum, uint64_t count)
{
	struct count *last = c->n > 0 ? &c->v[c->n - 1] : NULL;
	size_t at = c->text.len;
	int rc;

	c->total += sum;
	if (last != NULL && last->len == name.len && (name.len == 0 || memcmp(c->text.data + last->at, name.p, name.len) == 0)) {
		last->sum += sum;
		last->count += count;
		return 0;
	}
	if (c->n == c->cap) {
		size_t cap = c->cap != 0 ? c->cap * 2 : 64;
		struct count *v = realloc(c->v, cap * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		c->v = v;
		c->cap = cap;
	}
	rc = name.len > 0 ? buf_add(&c->text, name.p, name.len) : 0;
	if (rc == 0)
		c->v[c->n++] = (struct count){ at, name.len, sum, count };
	return rc;
}

/* The key of a KVS record. */
static struct str
key_of(struct str value)
{
	struct mp_r in = mp_r_init(value.p, value.len);
	uint32_t n = mp_r_map(&in);

	for (; n > 0 && in.err == 0; n--) {
		if (str_eqs(mp_r_str(&in), "Key"))
			return mp_r_str(&in);
		mp_r_skip(&in);
	}
	return STR_NONE;
}

/* Its first levels. */
static struct str
prefix_of(struct str key, size_t depth)
{
	for (size_t i = 0; i < key.len; i++)
		if (key.p[i] == '/' && --depth == 0)
			return (struct str){ key.p, i };
	return key;
}

static int
on_header(void *ctx, uint64_t last_index)
{
	struct inspection *x = ctx;

	(void)last_index;
	x->told = true;
	return 0;
}

/* The first record also bears the header's bytes, as Consul counts. */
static int
on_record(void *ctx, unsigned kind, struct str value, uint64_t offset, char ret_err[SNAP_ERROR_MAX])
{
	struct inspection *x = ctx;
	uint64_t end = offset + 1 + value.len, size = end - x->seen;
	struct str key;

	(void)ret_err;
	x->seen = end;
	x->kinds[kind & 255].sum += size;
	x->kinds[kind & 255].count++;
	if (!x->kv || kind != SNAP_KVS)
		return 0;
	key = key_of(value);
	if (!str_has_prefix(key, x->filter))
		return 0;
	return add(&x->by_prefix, x->depth > 0 ? prefix_of(key, x->depth) : STR(""), size, 1);
}

/* ---- in order */

/* The list that qsort()'s comparisons look into. */
static const struct buf *sorting;

static int
by_name(const void *a, const void *b)
{
	const struct count *x = a, *y = b;

	return str_cmp((struct str){ (const char *)sorting->data + x->at, x->len },
	    (struct str){ (const char *)sorting->data + y->at, y->len });
}

static int
by_size(const void *a, const void *b)
{
	const struct count *x = a, *y = b;

	return x->sum != y->sum ? (x->sum < y->sum ? 1 : -1) : by_name(a, b);
}

static void
sort(struct counts *c)
{
	size_t n = 0;

	if (c->n == 0)
		return;
	sorting = &c->text;
	qsort(c->v, c->n, sizeof(*c->v), by_name);
	for (size_t i = 1; i < c->n; i++)
		if (by_name(&c->v[n], &c->v[i]) == 0) {
			c->v[n].sum += c->v[i].sum;
			c->v[n].count += c->v[i].count;
		} else {
			c->v[++n] = c->v[i];
		}
	c->n = n + 1;
	qsort(c->v, c->n, sizeof(*c->v), by_size);
}

/* ---- printing */

static void
add_size(struct table *t, uint64_t bytes)
{
	static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
	double v = (double)bytes;
	size_t unit = 0;
	char text[32];
	size_t n;

	for (; v >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
		v /= 1024;
	(void)snprintf(text, sizeof(text), "%.1f", v);
	n = strlen(text);
	if (strcmp(text + n - 2, ".0") == 0)
		text[n - 2] = '\0';
	if (bytes == 0)
		table_adds(t, "0");
	else
		table_addf(t, "%s%s", text, units[unit]);
}

static int
print_counts(const char *title, const struct counts *c)
{
	static const char *const rule[] = { " ----", "----", "----" };
	struct table t;
	int rc;

	table_init(&t, 3);
	table_addf(&t, " %s", title);
	table_adds(&t, "Count");
	table_adds(&t, "Size");
	for (size_t i = 0; i < ARRAY_LEN(rule); i++)
		table_adds(&t, rule[i]);
	for (size_t i = 0; i < c->n; i++) {
		table_addf(&t, " %.*s", (int)c->v[i].len, c->text.data != NULL ? (const char *)c->text.data + c->v[i].at : "");
		table_addf(&t, "%" PRIu64, c->v[i].count);
		add_size(&t, c->v[i].sum);
	}
	for (size_t i = 0; i < ARRAY_LEN(rule); i++)
		table_adds(&t, rule[i]);
	table_adds(&t, " Total");
	table_adds(&t, "");
	add_size(&t, c->total);
	rc = table_print(&t, stdout, TABLE_WIDE_GAP);
	table_release(&t);
	return rc;
}

static int
print_pretty(const struct inspection *x, const struct snap_meta *m)
{
	struct table t;
	int rc;

	table_init(&t, 2);
	table_adds(&t, " ID");
	table_adds(&t, m->id);
	table_adds(&t, " Size");
	table_addf(&t, "%" PRIu64, m->size);
	table_adds(&t, " Index");
	table_addf(&t, "%" PRIu64, m->index);
	table_adds(&t, " Term");
	table_addf(&t, "%" PRIu64, m->term);
	table_adds(&t, " Version");
	table_addf(&t, "%" PRIu64, m->version);
	rc = table_print(&t, stdout, TABLE_WIDE_GAP);
	table_release(&t);
	putchar('\n');
	if (rc == 0)
		rc = print_counts("Type", &x->by_kind);
	if (rc == 0 && x->by_prefix.n > 0) {
		putchar('\n');
		rc = print_counts("Key Name", &x->by_prefix);
	}
	return rc;
}

static int
json_counts(struct buf *out, const char *name, const struct counts *c)
{
	int rc = buf_addf(out, "\"%s\":", name);

	if (rc == 0 && c->n == 0)
		return buf_adds(out, "null");
	for (size_t i = 0; rc == 0 && i < c->n; i++) {
		rc = buf_adds(out, i == 0 ? "[{\"Name\":" : ",{\"Name\":");
		if (rc == 0)
			rc = json_add_string(out, (struct str){ c->text.data != NULL ? (const char *)c->text.data + c->v[i].at : "",
			    c->v[i].len });
		if (rc == 0)
			rc = buf_addf(out, ",\"Sum\":%" PRIu64 ",\"Count\":%" PRIu64 "}", c->v[i].sum, c->v[i].count);
	}
	return rc == 0 ? buf_adds(out, "]") : rc;
}

static int
print_json(const struct inspection *x, const struct snap_meta *m)
{
	struct buf raw = BUF_INIT(KEY_BYTES_MAX), out = BUF_INIT(KEY_BYTES_MAX);
	int rc = buf_adds(&raw, "{\"Meta\":{\"ID\":");

	if (rc == 0)
		rc = json_add_string(&raw, str_from(m->id));
	if (rc == 0)
		rc = buf_addf(&raw, ",\"Size\":%" PRIu64 ",\"Index\":%" PRIu64 ",\"Term\":%" PRIu64 ",\"Version\":%" PRIu64 "},", m->size,
		    m->index, m->term, m->version);
	if (rc == 0)
		rc = json_counts(&raw, "Stats", &x->by_kind);
	if (rc == 0)
		rc = buf_addc(&raw, ',');
	if (rc == 0)
		rc = json_counts(&raw, "StatsKV", &x->by_prefix);
	if (rc == 0)
		rc = buf_addf(&raw, ",\"TotalSize\":%" PRIu64 ",\"TotalSizeKV\":%" PRIu64 "}", x->by_kind.total, x->by_prefix.total);
	if (rc == 0)
		rc = value_reindent((struct str){ (const char *)raw.data, raw.len }, "   ", &out);
	if (rc == 0) {
		fwrite(out.data, 1, out.len, stdout);
		putchar('\n');
	}
	buf_release(&raw);
	buf_release(&out);
	return rc;
}

/* ---- the command */

static int
read_file(struct inspection *x, const char *file, struct snap_meta *ret)
{
	const struct snap_sink sink = { x, on_header, on_record };
	char err[SNAP_ERROR_MAX] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0) {
		rc = -errno;
		fprintf(stderr, "Error opening snapshot file: open %s: %s\n", file, errtext(rc));
		return rc;
	}
	rc = snap_read(fd, &sink, ret, err);
	(void)close(fd);
	if (rc < 0)
		fprintf(stderr, "Error %s: %s\n", x->told ? "extracting snapshot data" : "reading snapshot", err);
	return rc;
}

static int
show(struct inspection *x, const struct snap_meta *m)
{
	bool json = strcmp(options_str(x->o, "format"), "json") == 0;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(x->kinds); i++)
		if (x->kinds[i].count > 0)
			rc = add(&x->by_kind, str_from(snap_kind_name(i)), x->kinds[i].sum, x->kinds[i].count);
	sort(&x->by_kind);
	sort(&x->by_prefix);
	if (rc == 0)
		rc = json ? print_json(x, m) : print_pretty(x, m);
	if (rc < 0)
		fprintf(stderr, "Error outputting enhanced snapshot data: %s\n", errtext(rc));
	return rc;
}

static int
run(const struct command *cmd, const struct options *o)
{
	const char *format = options_str(o, "format");
	int64_t depth = options_int(o, "kvdepth");
	struct inspection x = { .o = o, .kv = options_bool(o, "kvdetails"), .depth = depth > 0 ? (size_t)depth : 0,
		.filter = str_from(options_str(o, "kvfilter")) };
	struct snap_meta meta;
	int rc;

	(void)cmd;
	if (o->nargs != 1) {
		if (o->nargs == 0)
			fputs("Missing FILE argument\n", stderr);
		else
			fprintf(stderr, "Too many arguments (expected 1, got %d)\n", o->nargs);
		return 1;
	}
	buf_init(&x.by_kind.text, 64 * KiB);
	buf_init(&x.by_prefix.text, KEY_BYTES_MAX);
	rc = read_file(&x, o->args[0], &meta);
	if (rc == 0 && strcmp(format, "pretty") != 0 && strcmp(format, "json") != 0) {
		fprintf(stderr, "Error outputting enhanced snapshot data: Unknown format: %s\n", format);
		rc = -EINVAL;
	}
	if (rc == 0)
		rc = show(&x, &meta);
	free(x.by_kind.v);
	free(x.by_prefix.v);
	buf_release(&x.by_kind.text);
	buf_release(&x.by_prefix.text);
	return rc < 0 ? 1 : 0;
}

const struct command command_snapshot_inspect = {
	.name = "snapshot inspect",
	.summary = "Displays information about a snapshot file",
	.args = "[options] FILE",
	.about = "Reads and checks a snapshot, one of Consul's too, and prints how many records of which kind it holds and how much room they "
	    "take. No agent is asked.",
	.options = options,
	.run = run,
};
