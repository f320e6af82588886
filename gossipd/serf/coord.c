/* coord.c - where we are among the others: Vivaldi's rule, and a coordinate's bytes. */
#include "gossipd/serf/coord.h"

#include <math.h>

#include "lib/mp.h"

/* The constants of the reference: other values would not converge with the members of other implementations. */
#define ERROR_MAX 1.5
#define ERROR_WEIGHT 0.25	/* c_e of the paper */
#define MOVE_WEIGHT 0.25	/* c_c */
#define HEIGHT_MIN 10.0e-6
#define GRAVITY 150.0
#define TINY 1.0e-6
#define RTT_MAX 10.0
#define NS_PER_SECOND 1000000000

enum { COORD_VERSION = 1 };

void
coord_init(struct coord *c)
{
	*c = (struct coord){ .error = ERROR_MAX, .height = HEIGHT_MIN };
}

void
coord_client_init(struct coord_client *c)
{
	*c = (struct coord_client){ .at = 0 };
	coord_init(&c->c);
}

bool
coord_valid(const struct coord *c)
{
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		if (!isfinite(c->vec[i]))
			return false;
	return isfinite(c->error) && isfinite(c->adjustment) && isfinite(c->height);
}

/* The vector from b to a, and its length. */
static double
difference(const double *a, const double *b, double *ret)
{
	double sum = 0;

	for (size_t i = 0; i < COORD_DIMENSIONS; i++) {
		ret[i] = a[i] - b[i];
		sum += ret[i] * ret[i];
	}
	return sqrt(sum);
}

static double
raw_distance(const struct coord *a, const struct coord *b)
{
	double unused[COORD_DIMENSIONS];

	return difference(a->vec, b->vec, unused) + a->height + b->height;
}

/* As the reference counts: through whole nanoseconds, and seconds apart from the rest. */
static double
through_ns(double s)
{
	double ns = s * (double)NS_PER_SECOND;
	int64_t whole;

	/* A coordinate may be finite and yet absurd. */
	if (!(ns > -9.2e18 && ns < 9.2e18))
		return s;
	whole = (int64_t)ns;
	return (double)(whole / NS_PER_SECOND) + (double)(whole % NS_PER_SECOND) / (double)NS_PER_SECOND;
}

double
coord_distance(const struct coord *a, const struct coord *b)
{
	double d = raw_distance(a, b);
	double adjusted = d + a->adjustment + b->adjustment;

	return through_ns(adjusted > 0 ? adjusted : d);
}

static void
scale(double *v, double by)
{
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		v[i] *= by;
}

/* The direction from b to a with length 1; of two that lie on each other any one, and 0 as their distance. */
static double
direction(const double *a, const double *b, double *ret, double (*random)(void *ctx), void *ctx)
{
	static const double nowhere[COORD_DIMENSIONS];
	double length = difference(a, b, ret);

	if (length > TINY) {
		scale(ret, 1.0 / length);
		return length;
	}
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		ret[i] = random(ctx) - 0.5;
	length = difference(ret, nowhere, ret);
	if (length > TINY) {
		scale(ret, 1.0 / length);
		return 0;
	}
	memset(ret, 0, COORD_DIMENSIONS * sizeof(*ret));
	ret[0] = 1.0;
	return 0;
}

/* Away from other (force > 0), or towards it. */
static void
push(struct coord *c, double force, const struct coord *other, double (*random)(void *ctx), void *ctx)
{
	double unit[COORD_DIMENSIONS];
	double length = direction(c->vec, other->vec, unit, random, ctx);

	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		c->vec[i] += unit[i] * force;
	if (length > TINY) {
		c->height = (c->height + other->height) * force / length + c->height;
		if (c->height < HEIGHT_MIN)
			c->height = HEIGHT_MIN;
	}
}

/* Remember this round trip; the median of the last few. */
static double
filter(struct coord_latencies *l, double rtt_s)
{
	double v[COORD_LATENCIES];

	if (l->n == COORD_LATENCIES) {
		memmove(l->v, l->v + 1, sizeof(l->v) - sizeof(l->v[0]));
		l->n--;
	}
	l->v[l->n++] = rtt_s;
	for (size_t i = 0; i < l->n; i++) {
		size_t at = i;

		for (; at > 0 && v[at - 1] > l->v[i]; at--)
			v[at] = v[at - 1];
		v[at] = l->v[i];
	}
	return v[l->n / 2];
}

static void
adjust(struct coord_client *c, const struct coord *other, double rtt_s)
{
	double sum = 0;

	c->window[c->at] = rtt_s - raw_distance(&c->c, other);
	c->at = (c->at + 1) % COORD_WINDOW;
	for (size_t i = 0; i < COORD_WINDOW; i++)
		sum += c->window[i];
	c->c.adjustment = sum / (2.0 * COORD_WINDOW);
}

int
coord_update(struct coord_client *c, const struct coord *other, struct coord_latencies *l, double rtt_s,
    double (*random)(void *ctx), void *ctx)
{
	double rtt, d, wrong, total, weight, pull;
	struct coord origin;

	/* A NaN is in no range. */
	if (!(rtt_s >= 0 && rtt_s <= RTT_MAX) || !coord_valid(other))
		return -EINVAL;
	rtt_s = filter(l, rtt_s);
	d = coord_distance(&c->c, other);
	rtt = rtt_s > TINY ? rtt_s : TINY;
	wrong = fabs(d - rtt) / rtt;
	total = c->c.error + other->error;
	if (total < TINY)
		total = TINY;
	weight = c->c.error / total;
	c->c.error = ERROR_WEIGHT * weight * wrong + c->c.error * (1.0 - ERROR_WEIGHT * weight);
	if (c->c.error > ERROR_MAX)
		c->c.error = ERROR_MAX;
	push(&c->c, MOVE_WEIGHT * weight * (rtt - d), other, random, ctx);
	adjust(c, other, rtt_s);
	/* Gravity keeps the whole cloud from drifting away. */
	coord_init(&origin);
	pull = coord_distance(&origin, &c->c) / GRAVITY;
	push(&c->c, -1.0 * (pull * pull), &origin, random, ctx);
	if (!coord_valid(&c->c)) {
		c->resets++;
		coord_init(&c->c);
	}
	return 0;
}

int
coord_put(struct buf *out, const struct coord *c)
{
	size_t len = out->len;
	struct mp_w w = mp_w_init(out);
	int rc = buf_addc(out, COORD_VERSION);

	if (rc < 0)
		return rc;
	mp_w_map(&w, 4);
	mp_w_cstr(&w, "Adjustment");
	mp_w_double(&w, c->adjustment);
	mp_w_cstr(&w, "Error");
	mp_w_double(&w, c->error);
	mp_w_cstr(&w, "Height");
	mp_w_double(&w, c->height);
	mp_w_cstr(&w, "Vec");
	mp_w_array(&w, COORD_DIMENSIONS);
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		mp_w_double(&w, c->vec[i]);
	if (w.err != 0)
		out->len = len;
	return w.err;
}

static bool
read_vec(struct mp_r *r, double *vec)
{
	if (mp_r_array(r) != COORD_DIMENSIONS)
		return false;
	for (size_t i = 0; i < COORD_DIMENSIONS; i++)
		vec[i] = mp_r_double(r);
	return true;
}

/* As a list, in the order of the reference's structure; fewer members are zeros, more are passed over. */
static bool
read_list(struct mp_r *r, struct coord *c)
{
	double *const rest[] = { &c->error, &c->adjustment, &c->height };
	uint32_t n = mp_r_array(r);
	bool vec = n > 0 && read_vec(r, c->vec);

	for (uint32_t i = 1; i < n; i++) {
		if (i <= ARRAY_LEN(rest))
			*rest[i - 1] = mp_r_double(r);
		else
			mp_r_skip(r);
	}
	return vec;
}

static bool
read_map(struct mp_r *r, struct coord *c)
{
	bool vec = false;

	for (uint32_t n = mp_r_map(r); n > 0 && r->err == 0; n--) {
		struct str key = mp_r_str(r);

		if (str_eqs(key, "Vec"))
			vec = read_vec(r, c->vec);
		else if (str_eqs(key, "Error"))
			c->error = mp_r_double(r);
		else if (str_eqs(key, "Adjustment"))
			c->adjustment = mp_r_double(r);
		else if (str_eqs(key, "Height"))
			c->height = mp_r_double(r);
		else
			mp_r_skip(r);
	}
	return vec;
}

int
coord_get(struct str payload, struct coord *ret)
{
	struct coord c = { .error = 0 };
	struct mp_r r;
	bool vec;

	if (payload.len < 2 || payload.p[0] != COORD_VERSION)
		return -EDECODE;
	r = mp_r_init(payload.p + 1, payload.len - 1);
	vec = mp_r_type(&r) == MP_ARRAY ? read_list(&r, &c) : read_map(&r, &c);
	if (r.err != 0 || !vec || !coord_valid(&c))
		return -EDECODE;
	*ret = c;
	return 0;
}
