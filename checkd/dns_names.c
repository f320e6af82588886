/* dns_names.c - names that DNS cannot tell. */
#include "checkd/dns_names.h"

#include "lib/log.h"
#include "lib/records.h"

static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

const char *
dns_name_fault(struct str name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!is_plain(name.p[i]))
			return "invalid characters. Valid characters include all alpha-numerics and dashes.";
	return name.len > DNS_LABEL_MAX ? "it being too long. Valid lengths are between 1 and 63 bytes." : NULL;
}

static bool
has_tag(const struct node_service *s, struct str tag)
{
	for (size_t i = 0; s != NULL && i < s->tags.n; i++)
		if (str_eq(s->tags.v[i], tag))
			return true;
	return false;
}

void
dns_names_warn(const struct node_service *rec, const struct node_service *was)
{
	const char *fault = dns_name_fault(rec->service);

	if (fault != NULL && (was == NULL || !str_eq(was->service, rec->service)))
		log_warn("agent", "Service name will not be discoverable via DNS due to %s: service=\"%.*s\"", fault,
		    rec->service.len > 256 ? 256 : (int)rec->service.len, rec->service.p);
	for (size_t i = 0; i < rec->tags.n; i++) {
		struct str tag = rec->tags.v[i];

		fault = dns_name_fault(tag);
		if (fault != NULL && !has_tag(was, tag))
			log_debug("agent", "Service tag will not be discoverable via DNS due to %s: tag=\"%.*s\"", fault,
			    tag.len > 256 ? 256 : (int)tag.len, tag.p);
	}
}
