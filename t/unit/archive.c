/* archive.c - snapshots that Consul saved, and ours: what they hold, and that they are saved as they were. */
#include <sodium.h>

#include "t/unit/archive.h"

/* ---- the API's view */

static struct json_object *
file_json(const char *name)
{
	struct json_object *j = json_object_from_file(data_path(name));

	assert_non_null(j);
	return j;
}

/* w->text as JSON again. */
static struct json_object *
reply(const char *text)
{
	char *copy = strdup(text);
	struct json_object *j;

	assert_non_null(copy);
	for (char *p = copy; *p != 0; p++)
		if (*p == '\'')
			*p = '"';
	j = json_tokener_parse(copy);
	if (j == NULL)
		fail_msg("no JSON: %s", text);
	free(copy);
	return j;
}

static void
same(const char *what, struct json_object *got, struct json_object *want)
{
	char inner[128];

	if (json_object_is_type(want, json_type_object) && json_object_is_type(got, json_type_object) &&
	    json_object_object_length(got) == json_object_object_length(want)) {
		json_object_object_foreach(want, name, v) {
			struct json_object *mine = NULL;

			(void)snprintf(inner, sizeof(inner), "%.60s.%.60s", what, name);
			if (!json_object_object_get_ex(got, name, &mine))
				fail_msg("%s is missing", inner);
			same(inner, mine, v);
		}
		return;
	}
	if (json_object_equal(got, want) == 0)
		fail_msg("%s:\n got %s\nwant %s", what, json_object_to_json_string_ext(got, JSON_C_TO_STRING_PLAIN),
		    json_object_to_json_string_ext(want, JSON_C_TO_STRING_PLAIN));
}

static struct json_object *
member(struct json_object *j, const char *name)
{
	struct json_object *v = NULL;

	assert_true(json_object_object_get_ex(j, name, &v));
	return v;
}

/* Values too long for the file stand there as length and digest. */
static void
shorten(struct json_object *entry)
{
	const char *text = json_object_get_string(member(entry, "Value"));
	struct buf b = BUF_INIT(1 << 20);
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];

	if (text == NULL)
		return;
	assert_int_equal(base64_decode(str_from(text), &b), 0);
	if (b.len > 2000) {
		(void)crypto_hash_sha256(hash, b.data, b.len);
		json_object_object_del(entry, "Value");
		json_object_object_add(entry, "ValueLen", json_object_new_int64((int64_t)b.len));
		json_object_object_add(entry, "ValueSHA256",
		    json_object_new_string(sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash))));
	}
	buf_release(&b);
}

static void
view_kv(struct world *w, struct json_object *want)
{
	struct json_object *got = reply(query(w, OP_KV_LIST, "{'Key':''}"));

	assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), "kv")));
	for (size_t i = 0; i < json_object_array_length(got); i++)
		shorten(json_object_array_get_idx(got, i));
	same("kv", got, member(want, "kv"));
	json_object_put(got);
	(void)get(w, "no/such/key");
	assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), "kv_missing")));
}

static void
view_one(struct world *w, uint16_t op, const char *request, const char *name, const char *index, struct json_object *want)
{
	struct json_object *got = reply(query(w, op, request));

	same(name, got, member(want, name));
	if (index != NULL)
		assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), index)));
	json_object_put(got);
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(json_object_get_string(*(struct json_object *const *)a), json_object_get_string(*(struct json_object *const *)b));
}

/* Consul gives the tags of a service in any order. */
static void
sort_tags(struct json_object *services)
{
	json_object_object_foreach(services, name, tags) {
		(void)name;
		json_object_array_sort(tags, by_text);
	}
}

static void
view_services(struct world *w, struct json_object *want)
{
	struct json_object *got = reply(query(w, OP_CATALOG_SERVICES, "{}"));

	assert_int_equal(w->result_index, json_object_get_int64(member(member(want, "index"), "services")));
	sort_tags(got);
	sort_tags(member(want, "services"));
	same("services", got, member(want, "services"));
	json_object_put(got);
}

/* The reply for each name in a map of replies. */
static void
view_each(struct world *w, uint16_t op, const char *form, const char *name, struct json_object *want)
{
	json_object_object_foreach(member(want, name), key, val) {
		char request[512];
		struct json_object *got;

		(void)snprintf(request, sizeof(request), form, key);
		got = reply(query(w, op, request));
		same(key, got, val);
		json_object_put(got);
	}
}

static void
view(struct world *w, const char *file)
{
	struct json_object *want = file_json(file);

	view_kv(w, want);
	view_one(w, OP_CATALOG_NODES, "{}", "nodes", "nodes", want);
	view_services(w, want);
	view_one(w, OP_HEALTH_STATE, "{'State':'any'}", "health_any", "health", want);
	view_one(w, OP_SESSION_LIST, NULL, "sessions", "sessions", want);
	view_one(w, OP_AUTOPILOT_CONFIG, NULL, "autopilot", NULL, want);
	if (json_object_is_type(member(want, "coordinates"), json_type_array))
		view_one(w, OP_COORDINATE_LIST, "{}", "coordinates", "coordinates", want);
	view_each(w, OP_CATALOG_SERVICE, "{'Service':'%s'}", "service", want);
	view_each(w, OP_CATALOG_NODE, "{'Node':'%s'}", "node_services", want);
	json_object_put(want);
}

/* ---- tests */

static void
test_consuls(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct snap_meta meta;
		struct world *w;
		char name[64];

		(void)snprintf(name, sizeof(name), "%s.snap", good[i]);
		w = load(open_data(name), &meta);
		assert_int_equal(meta.version, 1);
		assert_int_equal(meta.term, 2);
		assert_int_equal(meta.configuration_index, 1);
		assert_int_equal(meta.nservers, 1);
		assert_true(meta.servers[0].voter);
		assert_string_equal(meta.servers[0].id, "11111111-2222-3333-4444-555555555555");
		(void)snprintf(name, sizeof(name), "%s.json", good[i]);
		view(w, name);
		world_free(w);
	}
}

/* The tombstones of a recursive delete: one, for the prefix; below it an index of its own. */
static void
test_tombstones(void **state)
{
	struct snap_meta meta;
	struct world *w = load(open_data("a-kv.snap"), &meta);

	(void)state;
	assert_string_equal(list(w, "gone/tree/"), "[]");
	assert_int_equal(w->result_index, 42);
	assert_string_equal(list(w, "gone/"), "[]");
	assert_int_equal(w->result_index, 30);
	world_free(w);
}

/* A token from before tokens had accessors was given one. */
static void
name_token(struct json_object *want, struct json_object *got)
{
	struct json_object *value = json_object_is_type(want, json_type_array) ? json_object_array_get_idx(want, 1) : want, *v = NULL;
	struct json_object *mine = json_object_is_type(got, json_type_array) ? json_object_array_get_idx(got, 1) : got, *id = NULL;

	if (!json_object_is_type(value, json_type_object) || !json_object_object_get_ex(value, "AccessorID", &v) ||
	    json_object_get_string_len(v) > 0)
		return;
	assert_true(json_object_object_get_ex(mine, "AccessorID", &id));
	assert_int_equal(json_object_get_string_len(id), 36);
	assert_int_equal(json_object_object_add(value, "AccessorID", json_object_get(id)), 0);
}

static void
same_records(const struct listing *got, const struct listing *want)
{
	size_t n = json_object_array_length(want->records);

	for (size_t i = 0; i < n; i++) {
		struct json_object *a = json_object_array_get_idx(got->records, i), *b = json_object_array_get_idx(want->records, i);
		char what[64];

		(void)snprintf(what, sizeof(what), "record %zu", i);
		assert_non_null(a);
		name_token(b, a);
		if (json_object_is_type(b, json_type_array)) {
			same(what, json_object_array_get_idx(a, 0), json_object_array_get_idx(b, 0));
			same(what, json_object_array_get_idx(a, 1), json_object_array_get_idx(b, 1));
		} else {
			same(what, a, b);
		}
	}
	assert_int_equal(json_object_array_length(got->records), n);
}

/* What Consul saved is saved again as it was, in its order; and that again byte for byte. */
static void
test_stable(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct listing consuls, first, second;
		struct snap_meta meta;
		struct world *w;
		char name[64];
		int fd;

		(void)snprintf(name, sizeof(name), "%s.snap", good[i]);
		list_records(open_data(name), &consuls);
		w = load(open_data(name), &meta);
		fd = save(w, &meta);
		world_free(w);
		list_records(dup(fd), &first);
		same_records(&first, &consuls);
		w = load(fd, &meta);
		list_records(save(w, &meta), &second);
		world_free(w);
		assert_int_equal(first.bytes.len, second.bytes.len);
		assert_memory_equal(first.bytes.data, second.bytes.data, first.bytes.len);
		listing_free(&consuls);
		listing_free(&first);
		listing_free(&second);
	}
}

/* A state of ours, with what only the API of ours writes. */
static struct world *
our_world(void)
{
	struct world *w = world_new();

	node(w, "n1");
	reg(w, "{'Node':'N2','Address':'x','ID':'aaaaaaaa-0000-0000-0000-000000000001','NodeMeta':{'a':'b'},'Service':{'Service':'Web',"
	    "'Kind':'connect-proxy','Tags':['a'],'Port':80,'Meta':{'m':'n'},'Connect':{'Native':true},'TaggedAddresses':{'lan':{'Address':'y','Port':1}},"
	    "'Proxy':{'DestinationServiceName':'db','Config':{'n':1,'long':'0123456789012345678901234567890123456789'},"
	    "'TransparentProxy':{'OutboundListenerPort':7},'Upstreams':[{'DestinationName':'x','LocalBindPort':9,'Config':{'k':2}}]}},"
	    "'Checks':[{'CheckID':'c','Name':'C','Status':'passing','ServiceID':'Web','Definition':{'HTTP':'http://x','Interval':'10s',"
	    "'Header':{'h':['1','2']},'DisableRedirects':true}}]}");
	reg(w, "{'Node':'n1','Address':'10.0.0.1','SkipNodeUpdate':true,'Service':{'Service':'plain','Proxy':{'Nonsense':true}}}");
	session(w, SID(1), "'TTL':'10s','LockDelay':'15s','Name':'me'");
	put(w, "a", "eA==");
	put(w, "gone", "eA==");
	kv_op(w, "delete", "gone", "");
	kv_op(w, "lock", "held", "'Session':'" SID(1) "','Flags':18446744073709551615");
	apply(w, OP_AUTOPILOT_SET, "{'Config':{'MinQuorum':3,'LastContactThreshold':'250ms'}}");
	coordinates(w, "[" AT("n2", "0.5") "," AT("n1", "-0.25") "]");
	return w;
}

/* The image of the state, without what a snapshot does not carry. */
static void
image_of(struct world *w, struct image *ret)
{
	struct image all;

	image_dump(w->f, &all);
	image_init(ret);
	for (size_t i = 0; i < all.n; i++)
		if (all.v[i].table != FSM_ORIGIN && all.v[i].table != FSM_SESSION && !str_eqs(all.v[i].key, "state"))
			image_changed(ret, all.v[i].table, all.v[i].key, all.v[i].value);
	image_free(&all);
}

static void
same_reads(struct world *a, struct world *b)
{
	static const struct {
		uint16_t op;
		const char *request;
	} reads[] = {
		{ OP_KV_LIST, "{'Key':''}" }, { OP_CATALOG_NODE, "{'Node':'n2'}" }, { OP_CATALOG_NODE, "{'Node':'n1'}" },
		{ OP_HEALTH_STATE, "{'State':'any'}" }, { OP_COORDINATE_LIST, "{}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
		const char *want = query(a, reads[i].op, reads[i].request);

		assert_string_equal(query(b, reads[i].op, reads[i].request), want);
		assert_int_equal(a->result_index, b->result_index);
	}
	assert_string_equal(query(b, OP_SESSION_LIST, NULL), query(a, OP_SESSION_LIST, NULL));
	assert_int_equal(a->result_index, b->result_index);
}

static void
test_ours(void **state)
{
	struct world *w = our_world(), *again;
	struct snap_meta meta = { .index = 12, .term = 3, .configuration_index = 1, .nservers = 2,
		.servers = { { "id-1", "127.0.0.1:8300", true }, { "id-2", "127.0.0.2:8300", false } } }, got;

	(void)state;
	again = load(save(w, &meta), &got);
	assert_string_equal(got.id, "3-12-1795400860793");
	assert_int_equal(got.index, 12);
	assert_int_equal(got.term, 3);
	assert_int_equal(got.nservers, 2);
	assert_string_equal(got.servers[1].address, "127.0.0.2:8300");
	assert_true(got.servers[0].voter && !got.servers[1].voter);
	assert_non_null(strstr(query(again, OP_CATALOG_NODE, "{'Node':'n2'}"), "'Proxy':{'DestinationServiceName':'db','Mode':'','Config':{"));
	assert_non_null(strstr(again->text, "'TransparentProxy':{'OutboundListenerPort':7}"));
	assert_non_null(strstr(query(again, OP_CATALOG_NODE, "{'Node':'n1'}"), "'Proxy':{'Mode':'','MeshGateway':{},'Expose':{}}"));
	assert_non_null(strstr(query(again, OP_HEALTH_STATE, "{'State':'any'}"), "'Definition':{'Interval':'10s','HTTP':'http://x',"
	    "'DisableRedirects':true,'Header':{'h':['1','2']}}"));
	assert_non_null(strstr(get(again, "held"), "'LockIndex':1,'Key':'held','Flags':18446744073709551615,'Value':null,'Session':'" SID(1) "'"));
	world_free(again);
	world_free(w);
}

/* The state that was loaded gives the same reads, and the same records, when it is saved and loaded again. */
static void
test_round_trip(void **state)
{
	struct world *w = our_world(), *one, *two;
	struct snap_meta meta = { .index = 12, .term = 3 }, got;
	struct image a, b;

	(void)state;
	one = load(save(w, &meta), &got);
	two = load(save(one, &meta), &got);
	same_reads(one, two);
	image_of(one, &a);
	image_of(two, &b);
	assert_image_equal(&a, &b);
	image_free(&a);
	image_free(&b);
	world_free(one);
	world_free(two);
	world_free(w);
}

/* A node's coordinate as Consul saves it. */
#define SAVED(vec, node) "\x91\x83\xa5" "Coord\x84\xaa" "Adjustment\xcb\0\0\0\0\0\0\0\0\xa5" "Error\xcb\x3f\xf8\0\0\0\0\0\0" \
    "\xa6Height\xcb\0\0\0\0\0\0\0\0\xa3Vec" vec "\xa4Node\xa2" node "\xa7Segment\xa0"
#define DOUBLE(hi) "\xcb" hi "\0\0\0\0\0\0"
#define VEC8(hi) "\x98" DOUBLE(hi) DOUBLE(hi) DOUBLE(hi) DOUBLE(hi) DOUBLE(hi) DOUBLE(hi) DOUBLE(hi) DOUBLE(hi)

/* Coordinates that cannot be of our pools are saved again word for word; the others have become the state's. */
static void
test_coordinates(void **state)
{
	static const char one[] = SAVED(VEC8("\x3f\xf0"), "n1"), two[] = SAVED("\x91" DOUBLE("\x3f\xf0"), "n2"),
	    none[] = SAVED(VEC8("\x7f\xf8"), "n3");
	const struct { const char *key, *value; size_t len; } kept[] = {
		{ "n1", one, sizeof(one) - 1 }, { "n2", two, sizeof(two) - 1 }, { "n3", none, sizeof(none) - 1 },
	};
	struct world *w = world_new(), *again;
	struct snap_meta meta = { .index = 12, .term = 3 }, got;
	struct listing before, after;
	struct image m;

	(void)state;
	/* As a server of an older release has them. */
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		char key[8];

		(void)snprintf(key, sizeof(key), "\6%s", kept[i].key);
		assert_int_equal(fsm_load(w->f, FSM_OPAQUE, (struct str){ key, 4 }, (struct str){ kept[i].value, kept[i].len }), 0);
	}
	put(w, "k", "eA==");
	list_records(save(w, &meta), &before);
	again = load(save(w, &meta), &got);
	assert_string_equal(query(again, OP_COORDINATE_LIST, "{}"),
	    "[{'Node':'n1','Segment':'','Coord':{'Vec':[1,1,1,1,1,1,1,1],'Error':1.5,'Adjustment':0,'Height':0}}]");
	/* Without an index of their own they have the newest that the header tells. */
	assert_int_equal(again->result_index, 1);
	image_dump(again->f, &m);
	for (size_t i = 0; i < m.n; i++)
		assert_true(m.v[i].table != FSM_OPAQUE || str_eq(m.v[i].key, (struct str){ "\6n2\0", 4 }) || str_eq(m.v[i].key, (struct str){ "\6n3\0", 4 }));
	image_free(&m);
	list_records(save(again, &meta), &after);
	assert_non_null(memmem(after.bytes.data, after.bytes.len, two, sizeof(two) - 1));
	assert_non_null(memmem(after.bytes.data, after.bytes.len, none, sizeof(none) - 1));
	assert_non_null(memmem(after.bytes.data, after.bytes.len, one, sizeof(one) - 1));
	/* One index more: that of the coordinates. */
	assert_int_equal(json_object_array_length(after.records), json_object_array_length(before.records) + 1);
	listing_free(&before);
	listing_free(&after);
	world_free(again);
	world_free(w);
}

/* Prepared queries go over as records; one that the state cannot hold stays as it is. */
static void
test_queries(void **state)
{
	static const char whole[] = "{'Verb':'create','Query':{'ID':'00000001-0000-4000-8000-000000000000','Name':'geo-','Token':'t',"
	    "'Template':{'Type':'name_prefix_match','Regexp':'(.*)','RemoveEmptyTags':true},'Service':{'Service':'${match(1)}','Failover':"
	    "{'NearestN':2,'Datacenters':['dc2']},'OnlyPassing':true,'IgnoreCheckIDs':['c'],'Near':'_agent','Tags':['a','!b'],"
	    "'NodeMeta':{'z':'1','a':'2'},'ServiceMeta':{'m':'3'},'Connect':true},'DNS':{'TTL':'5s'}}}";
	static const char odd[] = "\x81\xa2ID\xa1x";
	struct world *w = world_new(), *again, *third;
	struct snap_meta meta = { .index = 12, .term = 3 }, got;
	struct listing records;
	char *want;

	(void)state;
	apply(w, OP_QUERY_APPLY, whole);
	apply(w, OP_QUERY_APPLY, "{'Verb':'create','Query':{'ID':'00000002-0000-4000-8000-000000000000','Name':'b','Service':{'Service':'web',"
	    "'Failover':{'Targets':[{'Datacenter':'dc2'}]}}}}");
	assert_int_equal(fsm_load(w->f, FSM_OPAQUE, STR("\7x"), STR(odd)), 0);
	want = strdup(query(w, OP_QUERY_LIST, NULL));
	assert_non_null(want);
	assert_non_null(strstr(want, "'Targets':[{'Datacenter':'dc2'}]"));
	again = load(save(w, &meta), &got);
	assert_string_equal(query(again, OP_QUERY_LIST, NULL), want);
	assert_int_equal(again->result_index, 2);
	list_records(save(again, &meta), &records);
	assert_non_null(memmem(records.bytes.data, records.bytes.len, odd, sizeof(odd) - 1));
	third = load(save(again, &meta), &got);
	assert_string_equal(query(third, OP_QUERY_LIST, NULL), want);
	listing_free(&records);
	free(want);
	world_free(third);
	world_free(again);
	world_free(w);
}

/* An empty state, and records of megabytes. */
static void
test_sizes(void **state)
{
	static char value[3 << 20];
	struct world *w = world_new(), *again;
	struct snap_meta meta = { .index = 1, .term = 1 }, got;
	struct kv_entry e = { .key = STR("big"), .value = { value, sizeof(value) }, .create_index = 1, .modify_index = 1 };
	struct buf image = BUF_INIT(2 * sizeof(value));
	struct mp_w m = mp_w_init(&image);

	(void)state;
	again = load(save(w, &meta), &got);
	assert_string_equal(list(again, ""), "[]");
	world_free(again);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char)(i * i >> 3);
	record_encode(&rec_kv_entry, &e, RECORD_WHOLE, &m);
	assert_int_equal(fsm_load(w->f, FSM_KV, e.key, (struct str){ (char *)image.data, image.len }), 0);
	assert_int_equal(fsm_load(w->f, FSM_KV, STR("small"), STR("\x80")), 0);
	again = load(save(w, &meta), &got);
	assert_true(got.size > sizeof(value));
	{
		struct image a, b;

		image_of(w, &a);
		image_of(again, &b);
		assert_image_equal(&a, &b);
		image_free(&a);
		image_free(&b);
	}
	buf_release(&image);
	world_free(again);
	world_free(w);
}

/* Whoever is told may give up; a descriptor that cannot be written is told. */
static void
test_failures(void **state)
{
	struct told t = { NULL, 0, -ENOSPC };
	const struct archive_sink sink = { &t, on_record };
	struct world *w = our_world();
	struct snap_meta meta = { .index = 1, .term = 1 };
	char err[SNAP_ERROR_MAX] = "";
	int fd = open_data("a-kv.snap"), full = open("/dev/full", O_WRONLY | O_CLOEXEC), none[2];

	(void)state;
	assert_int_equal(archive_load(fd, "dc1", &sink, &meta, err), -ENOSPC);
	assert_int_equal(t.n, 1);
	assert_non_null(strstr(err, "No space left on device"));
	assert_true(archive_save(w->f, &meta, 0, fd, err) < 0);		/* open for reading */
	assert_non_null(strstr(err, "failed to write snapshot: "));
	assert_true(archive_save(w->f, &meta, 0, full, err) < 0);
	assert_int_equal(pipe(none), 0);
	assert_true(archive_load(none[0], "dc1", &sink, &meta, err) < 0);
	assert_non_null(strstr(err, "failed to decompress snapshot: Illegal seek"));
	(void)close(none[0]);
	(void)close(none[1]);
	(void)close(full);
	(void)close(fd);
	world_free(w);
}

static void
test_names(void **state)
{
	(void)state;
	assert_string_equal(snap_kind_name(SNAP_KVS), "KVS");
	assert_string_equal(snap_kind_name(SNAP_SYSTEM_METADATA), "SystemMetadata");
	assert_string_equal(snap_kind_name(32), "Unknown");
	assert_true(snap_kind_known(SNAP_AREA));
	assert_false(snap_kind_known(SNAP_CA_LEAF));
	assert_false(snap_kind_known(200));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consuls), cmocka_unit_test(test_tombstones), cmocka_unit_test(test_stable),
		cmocka_unit_test(test_ours), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_failures), cmocka_unit_test(test_names), cmocka_unit_test(test_coordinates), cmocka_unit_test(test_queries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
