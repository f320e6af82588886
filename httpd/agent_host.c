/* agent_host.c - /v1/agent/host: memory, processors, disk and system of this machine */
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "httpd/respond.h"
#include "httpd/routes.h"
#include "lib/duration.h"

enum { LINE_MAX_ = 1024, CPUS_MAX = 1024, HOST_MAX = 1024 * 1024 };

/* A "Name: 123 kB" line of /proc/meminfo, in bytes. */
static uint64_t
meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[LINE_MAX_];
	unsigned long long kb = 0;
	size_t n = strlen(name);

	if (f == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, n) == 0 && line[n] == ':') {
			kb = strtoull(line + n + 1, NULL, 10);
			break;
		}
	(void)fclose(f);
	return kb * 1024;
}

static void
memory_write(struct mp_w *w)
{
	uint64_t total = meminfo("MemTotal"), available = meminfo("MemAvailable");
	uint64_t used = total > available ? total - available : 0;

	mp_w_map(w, 5);
	mp_w_cstr(w, "total");
	mp_w_uint(w, total);
	mp_w_cstr(w, "available");
	mp_w_uint(w, available);
	mp_w_cstr(w, "used");
	mp_w_uint(w, used);
	mp_w_cstr(w, "usedPercent");
	mp_w_double(w, total > 0 ? (double)used * 100 / (double)total : 0);
	mp_w_cstr(w, "free");
	mp_w_uint(w, meminfo("MemFree"));
}

/* "model name : X" */
static const char *
cpuinfo_value(char *line)
{
	char *colon = strchr(line, ':');

	if (colon == NULL)
		return "";
	colon++;
	colon += strspn(colon, " \t");
	colon[strcspn(colon, "\n")] = '\0';
	return colon;
}

static void
cpus_write(struct mp_w *w)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[LINE_MAX_];
	size_t at = mp_w_array_hold(w);
	uint32_t n = 0;

	while (f != NULL && n < CPUS_MAX && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "model name", 10) != 0)
			continue;
		mp_w_map(w, 2);
		mp_w_cstr(w, "cpu");
		mp_w_uint(w, n++);
		mp_w_cstr(w, "modelName");
		mp_w_cstr(w, cpuinfo_value(line));
	}
	if (f != NULL)
		(void)fclose(f);
	mp_w_array_patch(w, at, n);
}

static void
system_write(struct mp_w *w)
{
	struct utsname u;
	struct timespec up = { 0 }, now = { 0 };

	if (uname(&u) < 0)
		memset(&u, 0, sizeof(u));
	(void)clock_gettime(CLOCK_BOOTTIME, &up);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	mp_w_map(w, 6);
	mp_w_cstr(w, "hostname");
	mp_w_cstr(w, u.nodename);
	mp_w_cstr(w, "uptime");
	mp_w_int(w, up.tv_sec);
	mp_w_cstr(w, "bootTime");
	mp_w_int(w, now.tv_sec - up.tv_sec);
	mp_w_cstr(w, "os");
	mp_w_cstr(w, "linux");
	mp_w_cstr(w, "kernelVersion");
	mp_w_cstr(w, u.release);
	mp_w_cstr(w, "kernelArch");
	mp_w_cstr(w, u.machine);
}

static void
disk_write(struct mp_w *w, const char *path)
{
	struct statvfs v;
	uint64_t total, avail, used;

	if (statvfs(path, &v) < 0) {
		mp_w_nil(w);
		return;
	}
	total = (uint64_t)v.f_blocks * v.f_frsize;
	avail = (uint64_t)v.f_bavail * v.f_frsize;
	used = total - (uint64_t)v.f_bfree * v.f_frsize;
	mp_w_map(w, 5);
	mp_w_cstr(w, "path");
	mp_w_cstr(w, path);
	mp_w_cstr(w, "total");
	mp_w_uint(w, total);
	mp_w_cstr(w, "free");
	mp_w_uint(w, avail);
	mp_w_cstr(w, "used");
	mp_w_uint(w, used);
	mp_w_cstr(w, "usedPercent");
	mp_w_double(w, used + avail > 0 ? (double)used * 100 / (double)(used + avail) : 0);
}

void
agent_host(struct request *r)
{
	const char *dir = cfg_str(r->h->cfg.slice, "data_dir", "");
	struct buf out = BUF_INIT(HOST_MAX);
	struct mp_w w = mp_w_init(&out);
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &now);
	mp_w_map(&w, 6);
	mp_w_cstr(&w, "Memory");
	memory_write(&w);
	mp_w_cstr(&w, "CPU");
	cpus_write(&w);
	mp_w_cstr(&w, "Host");
	system_write(&w);
	mp_w_cstr(&w, "Disk");
	disk_write(&w, dir[0] != '\0' ? dir : "/");
	mp_w_cstr(&w, "CollectionTime");
	mp_w_int(&w, now.tv_sec * NS_PER_S + now.tv_nsec);
	mp_w_cstr(&w, "Errors");
	mp_w_nil(&w);
	if (w.err < 0)
		respond_empty(r, 500);
	else
		respond_mp(r, 200, (struct str){ (const char *)out.data, out.len });
	buf_release(&out);
}
