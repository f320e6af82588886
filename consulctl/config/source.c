/* source.c - the files of the configuration: which they are, what is in them. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consulctl/config/build.h"

static bool
has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n >= m && strcmp(name + n - m, suffix) == 0;
}

static bool
wanted(struct config *c, const char *path, const char *format)
{
	if (format != NULL || has_suffix(path, ".json") || has_suffix(path, ".hcl"))
		return true;
	config_note(c, LOG_WARN, "skipping file %s, extension must be .hcl or .json, or config format must be set", path);
	return false;
}

static int
paths_add(struct config_paths *out, const char *path, struct buf *err)
{
	char **v = out->n < HCL_SOURCE_MAX ? realloc(out->v, (out->n + 1) * sizeof(*v)) : NULL;

	if (out->n >= HCL_SOURCE_MAX)
		return config_fail(err, -ELIMIT, "more than %d configuration files", HCL_SOURCE_MAX);
	if (v == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	out->v = v;
	v[out->n] = strdup(path);
	if (v[out->n] == NULL)
		return config_fail(err, -ENOMEM, "out of memory");
	out->n++;
	return 0;
}

void
config_paths_release(struct config_paths *p)
{
	while (p->n > 0)
		free(p->v[--p->n]);
	free(p->v);
	p->v = NULL;
}

/* One entry of a directory: regular files count, whatever links lead to them. */
static int
expand_entry(struct config *c, const char *dir, const char *name, const char *format, struct config_paths *out, struct buf *err)
{
	struct buf path = BUF_INIT(64 * KiB);
	size_t n = strlen(dir);
	struct stat st;
	const char *full;
	int rc = -ENOMEM;

	if (buf_addf(&path, "%s%s%s", dir, n > 0 && dir[n - 1] == '/' ? "" : "/", name) < 0)
		goto out;
	full = buf_cstr(&path);
	if (full == NULL)
		goto out;
	if (stat(full, &st) < 0)
		rc = config_fail(err, -errno, "config: Open failed on %s. %s", full, strerror(errno));
	else if (!S_ISREG(st.st_mode) || !wanted(c, full, format))
		rc = 0;
	else
		rc = paths_add(out, full, err);
out:
	buf_release(&path);
	return rc;
}

static int
expand_dir(struct config *c, const char *path, const char *format, struct config_paths *out, struct buf *err)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort), rc = 0;

	if (n < 0)
		return config_fail(err, -errno, "config: Readdir failed on %s. %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (rc == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			rc = expand_entry(c, path, name, format, out, err);
		free(names[i]);
	}
	free(names);
	return rc;
}

int
config_expand_path(struct config *c, const char *path, const char *format, struct config_paths *out, struct buf *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return config_fail(err, -errno, "config: Open failed on %s. %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return expand_dir(c, path, format, out, err);
	return wanted(c, path, format) ? paths_add(out, path, err) : 0;
}

static int
read_all(const char *path, struct buf *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (rc == 0 && n > 0) {
		rc = buf_reserve(text, text->len < text->max ? 1 : 2);
		if (rc < 0)
			break;
		n = read(fd, text->data + text->len, text->cap - text->len);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n > 0)
			text->len += (size_t)n;
		else if (n < 0)
			n = 1;
	}
	close(fd);
	return rc;
}

/* Judge a raw tree and add it. */
static int
add_tree(struct config *c, unsigned source, struct json_object *raw, struct buf *err)
{
	struct json_object *typed = NULL;
	int rc = config_check(c, source, raw, &typed, err);

	if (rc == 0 && config_merge(c->tree, typed) < 0)
		rc = config_fail(err, -ENOMEM, "out of memory");
	json_object_put(typed);
	return rc;
}

/* As Consul, HCL that begins with a brace is JSON. */
static bool
looks_like_json(struct str text)
{
	size_t n = 0;

	while (n < text.len && strchr(" \t\r\n", text.p[n]) != NULL && text.p[n] != 0)
		n++;
	return n < text.len && text.p[n] == '{';
}

static int
add_parsed(struct config *c, const char *name, struct str text, bool json, struct buf *err)
{
	struct json_object *raw = NULL;
	struct hcl_error e;
	int source = config_add_source(c, name), rc;

	if (source < 0)
		return config_fail(err, source, "%s: %s", name, err_text(source));
	if (json || looks_like_json(text))
		rc = config_json_parse(text, (unsigned)source, &raw, &e);
	else
		rc = hcl_parse(text, (unsigned)source, &raw, &e);
	if (rc == -EINVAL)
		return config_fail(err, rc, "failed to parse %s: line %u, column %u: %s", name, e.line, e.column, e.text);
	if (rc < 0)
		return config_fail(err, rc, "failed to parse %s: %s", name, err_text(rc));
	rc = add_tree(c, (unsigned)source, raw, err);
	json_object_put(raw);
	return rc;
}

int
config_add_file(struct config *c, const char *path, const char *format, struct buf *err)
{
	bool json = format != NULL ? strcmp(format, "json") == 0 : has_suffix(path, ".json");
	struct buf text = BUF_INIT(HCL_SIZE_MAX + 1);
	int rc = read_all(path, &text);

	if (rc == -ELIMIT)
		rc = config_fail(err, rc, "config: Read failed on %s. The file is larger than %d MiB", path, HCL_SIZE_MAX >> 20);
	else if (rc < 0)
		rc = config_fail(err, rc, "config: Open failed on %s. %s", path, err_text(rc));
	else
		rc = add_parsed(c, path, (struct str){ (const char *)text.data, text.len }, json, err);
	buf_release(&text);
	return rc;
}

int
config_add_text(struct config *c, const char *name, struct str text, struct buf *err)
{
	return add_parsed(c, name, text, false, err);
}

int
config_add_raw(struct config *c, const char *name, struct json_object *raw, struct buf *err)
{
	int source = config_add_source(c, name);

	if (source < 0)
		return config_fail(err, source, "%s: %s", name, err_text(source));
	return add_tree(c, (unsigned)source, raw, err);
}
