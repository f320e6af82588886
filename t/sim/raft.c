/*
 * raft.c - the simulator's command line: runs seeds, says which one failed.
 *
 *	raft [--seed N] [--seeds COUNT] [--from N] [--minutes M] [--profile NAME] [--trace]
 *
 * --seed runs this one alone; --from the COUNT from this one on; without
 * either a random first seed is chosen and printed. Each simulates M minutes
 * of faults (two by default), and then those that the cluster needs to
 * come back; --profile wants one kind of faults (faults.c). Exits 1 at the first seed that breaks a property.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/sim/world.h"

/* Sanitizers end in abort(), so that the seed is told. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "abort_on_error=1:handle_abort=0";
}

const char *
__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

static struct world world = { .profile = -1 };
static char replay[256];

static void
on_abort(int sig)
{
	if (write(STDERR_FILENO, replay, strlen(replay)) < 0)
		_exit(2);
	signal(sig, SIG_DFL);
	raise(sig);
}

static uint64_t
random_seed(void)
{
	uint64_t seed = 0;
	FILE *f = fopen("/dev/urandom", "rb");

	if (f == NULL || fread(&seed, sizeof(seed), 1, f) != 1) {
		perror("raft: /dev/urandom");
		exit(2);
	}
	fclose(f);
	return seed % 1000000000;
}

static uint64_t
number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "raft: not a number: %s\n", text);
		exit(2);
	}
	return n;
}

struct options {
	uint64_t from, count;
	double minutes;
	bool trace;
	const char *profile;
};

static struct options
parse(int argc, char **argv)
{
	static const struct option names[] = { { "seed", 1, NULL, 's' }, { "seeds", 1, NULL, 'n' }, { "from", 1, NULL, 'f' },
		{ "minutes", 1, NULL, 'm' }, { "trace", 0, NULL, 't' },
		{ "profile", 1, NULL, 'p' }, { NULL, 0, NULL, 0 } };
	struct options o = { .count = 1, .minutes = 2 };
	bool chosen = false;
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 's':
		case 'f':
			o.from = number(optarg);
			chosen = true;
			break;
		case 'n':
			o.count = number(optarg);
			break;
		case 'm':
			o.minutes = strtod(optarg, NULL);
			break;
		case 'p':
			o.profile = optarg;
			world.profile = faults_profile(optarg);
			if (world.profile < 0) {
				fprintf(stderr, "raft: no such profile: %s\n", optarg);
				exit(2);
			}
			break;
		case 't':
			o.trace = true;
			break;
		default:
			fprintf(stderr, "usage: raft [--seed N] [--seeds COUNT] [--from N] [--minutes M] [--profile NAME] [--trace]\n");
			exit(2);
		}
	}
	if (!chosen)
		o.from = random_seed();
	return o;
}

static void
summary(const struct tally *t, uint64_t seeds, double hours, uint64_t steps, uint64_t ops)
{
#define U(x) ((unsigned long long)(x))
	printf("clean: %llu seeds, %.2f simulated hours, %llu steps\n", U(seeds), hours, U(steps));
	printf("elections %llu, commits %llu, truncations %llu, configurations %llu, snapshots installed %llu, transfers %llu\n",
	    U(t->elections), U(t->commits), U(t->truncations), U(t->configs), U(t->installs), U(t->transfers));
	printf("crashes %llu, wipes %llu, operations %llu (given up: %llu), reads by lease %llu, by barrier %llu\n",
	    U(t->crashes), U(t->wipes), U(ops), U(t->unknown), U(t->lease_reads), U(t->barrier_reads));
#undef U
}

int
main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	uint64_t simulated = 0, steps = 0, ops = 0;
	int failed = 0;

	signal(SIGABRT, on_abort);
	signal(SIGSEGV, on_abort);
	printf("seeds %llu to %llu\n", (unsigned long long)o.from, (unsigned long long)(o.from + o.count - 1));
	fflush(stdout);
	for (uint64_t seed = o.from; failed == 0 && seed < o.from + o.count; seed++) {
		snprintf(replay, sizeof(replay), "replay: t/sim/raft --seed %llu --minutes %g%s%s --trace\n",
		    (unsigned long long)seed, o.minutes, o.profile != NULL ? " --profile " : "", o.profile != NULL ? o.profile : "");
		failed = world_run(&world, seed, o.minutes, o.trace);
		simulated += world.now;
		steps += world.steps;
		ops += world.nops;
	}
	if (failed != 0)
		printf("%s", replay);
	else
		summary(&world.tally, o.count, (double)simulated / 3600e6, steps, ops);
	world_release(&world);
	return failed;
}
