#!/usr/bin/perl
# consulctl why: who registered an instance, its checks, and why DNS returns it or does not. DNS itself is asked as well.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Acl;
use Ctl;
use JSON::PP ();
use Node;
use Test::More;

my $long = 'l' x 64;
my $n = Node->new(dev => 1, name => 'n1', config => { check_update_interval => '0s' }, config_dir => {
	'web.json' => "{\n  \"services\": [\n    { \"name\": \"web\", \"port\": 80, \"tags\": [\"v1\", \"eu\"], \"check\": { \"ttl\": \"1h\", \"status\": \"passing\" } },\n" .
		"    { \"name\": \"$long\" }\n  ]\n}\n" });
my $addr = "$n->{ip}:$n->{ports}{http}";

sub why
{
	my ($code, $name, @args) = @_;
	my @got = ctl({ addr => $addr }, 'why', @args);

	is("$got[0] $got[2]", "$code ", $name) or diag "@got";
	return $got[1];
}
sub why_json { return JSON::PP::decode_json(why(@_[0, 1], '-format=json', @_[2 .. $#_])); }
sub register { my ($q) = @_; is(($n->http('PUT', '/v1/agent/service/register', $q))[0], 200, "$q->{ID} is registered"); }

# ---- nothing, and what is wrong
like(why(2, 'a service that is not there', 'none'), qr/^none: 0 of 0 instances are returned by DNS\nNeither the catalog nor this agent has an instance/m, 'has no instances');
like(why(0, 'the servers themselves', 'consul'), qr/^    Registered by: the leader, as for each server$/m, 'are registered by the leader, who takes nothing out');
my @usage = ctl({ addr => $addr }, 'why');
is($usage[0], 1, 'a name is needed');
like($usage[2], qr/the name of a service/, 'which is said');
is((ctl({ addr => $addr }, qw(why -format=xml web)))[0], 1, 'another format is none');
is((ctl({ addr => '127.0.0.1:1' }, qw(why web)))[0], 1, 'no agent is an error');

# ---- a file
$n->wait_for(sub { @{$n->get_json('/v1/catalog/service/web')} == 1 && @{$n->get_json("/v1/catalog/service/$long")} == 1 }) or die 'not synced';
my $j = why_json(0, 'a service of a file', 'web');
my ($i) = @{$j->{Instances}};
is($j->{Returned}, 1, 'is returned');
ok($i->{Returned}, 'as DNS says itself');
is($i->{RegisteredBy}{Kind}, 'file', 'its source is a file');
like($i->{RegisteredBy}{From}, qr{/web\.json:3$}, 'with its line');
is_deeply([map { "$_->{CheckID} $_->{Of} $_->{Status}" } sort { $a->{CheckID} cmp $b->{CheckID} } @{$i->{Checks}}],
	['serfHealth node passing', 'service:web instance passing'], 'its checks and those of its node');
like(why(0, 'the same for people', 'web'), qr/^  web on n1\n    Address:       \Q$n->{ip}\E port 80\n    Registered by: this agent, in \S+web\.json:3, at \d{4}-\d\d-\d\dT.*\n.*^    DNS:           returned/ms, 'is said');
like(why(2, 'a tag that it lacks', '-tag=v2', 'web'), qr/not returned: it does not have the tag "v2"/, 'is why');
why(0, 'one that it has', '-tag=V1', 'web');
why(0, 'several that it has', '-tag=eu.v1', 'web');

# ---- the API, outputs and ages
register({ ID => 'web2', Name => 'web', Port => 81, Tags => ['eu.v1'], Check => { TTL => '1h' } });
$n->http('PUT', '/v1/agent/check/fail/service:web2?note=disk%20full');
$n->wait_for(sub { grep { $_->{Status} eq 'critical' } @{$n->get_json('/v1/health/checks/web')} }) or die;
$j = why_json(0, 'one of two is critical', 'web');
like(why(2, 'an instance, even a critical one, with the tag as a whole', '-tag=eu.v1', 'web'), qr/it does not have the tag "eu\.v1"/, 'keeps its labels from being tags');
like($n->dig('eu.v1.web.service.consul', 'A'), qr/status: NXDOMAIN/, 'as in DNS');
like($n->dig('v1.eu.web.service.consul', 'A'), qr/status: NOERROR/, 'others stay several');
is($j->{Returned}, 1, 'one is returned');
($i) = grep { $_->{ServiceID} eq 'web2' } @{$j->{Instances}};
like("$i->{RegisteredBy}{Kind} $i->{RegisteredBy}{From}", qr/^api 127\.\d+\.\d+\.\d+$/, 'the other came over the API, from that address');
cmp_ok(abs($i->{RegisteredBy}{Since} - time), '<', 60, 'at that time');
is($i->{Reason}, q(check "Service 'web' check" of the instance is critical), 'and is critical');
my ($c) = grep { $_->{CheckID} eq 'service:web2' } @{$i->{Checks}};
is($c->{Output}, 'disk full', 'its output is told');
like($c->{Age}, qr/^\d+$/, 'and its age');
$n->http('PUT', '/v1/agent/check/pass/service:web2');

# ---- maintenance
$n->http('PUT', '/v1/agent/service/maintenance/web2?enable=true&reason=new%20disk');
$n->wait_for(sub { grep { $_->{CheckID} =~ /maint/ } @{$n->get_json('/v1/health/checks/web')} }) or die;
like(why(0, 'an instance in maintenance', 'web'), qr/web2 on n1.*not returned: the instance is in maintenance: new disk$/ms, 'is not returned');
$n->http('PUT', '/v1/agent/maintenance?enable=true&reason=kernel');
$n->wait_for(sub { grep { $_->{CheckID} eq '_node_maintenance' } @{$n->get_json('/v1/health/node/n1')} }) or die;
like(why(2, 'a node in maintenance', 'web'), qr/web on n1.*not returned: the node is in maintenance: kernel$/ms, 'returns none');
$n->http('PUT', '/v1/agent/maintenance?enable=false');
$n->http('PUT', '/v1/agent/service/maintenance/web2?enable=false');

# ---- warnings, only_passing
$n->http('PUT', '/v1/agent/check/warn/service:web2?note=slow');
$n->wait_for(sub { grep { $_->{Status} eq 'warning' } @{$n->get_json('/v1/health/checks/web')} }) or die;
is(why_json(0, 'a warning', 'web')->{Returned}, 2, 'is returned');

# ---- names that DNS cannot say
like(why(2, 'a name that is too long', $long), qr/^DNS cannot say the name: a label has at most 63 bytes$/m, 'is why');
register({ ID => 'dotted', Name => 'a.b' });
like(why(2, 'a name with a dot', 'a.b'), qr/^DNS cannot say the name: it is more than one label/m, 'is why');
like($n->log_text, qr/Service name will not be discoverable via DNS due to it being too long\. Valid lengths are between 1 and 63 bytes\.: service="?$long/, 'the log warned of the one');
like($n->log_text, qr/Service name will not be discoverable via DNS due to invalid characters\. Valid characters include all alpha-numerics and dashes\.: service="?a\.b/, 'and of the other');
is(scalar @{$n->get_json('/v1/catalog/service/a.b')}, 1, 'which HTTP finds all the same');

register({ ID => 'under', Name => 'a_b' });
$n->wait_for(sub { @{$n->get_json('/v1/catalog/service/a_b')} == 1 }) or die;
like(why(0, 'a name with an underscore', 'a_b'), qr/^The name has other characters .* resolvers may refuse it\.$/m, 'is answered, and its risk told');

# ---- without an agent; an address that is a name; neither
is(($n->http('PUT', '/v1/catalog/register', { Node => 'ext', Address => 'db.example.org', Service => { Service => 'ext', ID => 'e1', Port => 5 } }))[0], 200, 'a write to the catalog');
$i = why_json(0, 'is told from an agent', 'ext')->{Instances}[0];
is("$i->{RegisteredBy}{Kind} $i->{Node}", 'catalog ext', 'as a write to the catalog');
like($i->{Reason}, qr/host name, told as CNAME/, 'with a name for an address');
ok($i->{ModifyIndex} > 0, 'and the index of the last write');
is(($n->http('PUT', '/v1/catalog/register', { Node => 'n1', Address => $n->{ip}, SkipNodeUpdate => JSON::PP::true, Service => { Service => 'stray' } }))[0], 200, 'one under the agent\'s node');
$i = why_json(0, 'is told', 'stray')->{Instances}[0];
ok($i->{RegisteredBy}{Doomed}, 'as one that will be taken out');

is(($n->http('PUT', '/v1/agent/check/register', { Name => 'extra', ServiceID => 'web', TTL => '1h', Status => 'passing' }))[0], 200, 'a check over the API beside one of a file');
$n->wait_for(sub { @{$n->get_json('/v1/health/checks/web')} == 3 }) or die;
$i = (grep { $_->{ServiceID} eq 'web' } @{why_json(0, 'each', 'web')->{Instances}})[0];
is_deeply([map { "$_->{CheckID} $_->{Source}" } sort { $a->{CheckID} cmp $b->{CheckID} } @{$i->{Checks}}], ['extra api', 'serfHealth ', 'service:web file'], 'tells where it comes from');

# ---- the agent of another node is not asked
is(($n->http('PUT', '/v1/catalog/register', { Node => 'far', Address => 'fd00::7', Service => { Service => 'far', ID => 'f1', Port => 7 },
	Check => { CheckID => 'serfHealth', Name => 'Serf Health Status', Status => 'passing' } }))[0], 200, 'one at another agent');
my $far = why(0, 'is told', 'far');
like($far, qr/Registered by: the agent of that node, which was not asked: this is what the catalog tells$/m, 'for what it is');
like($far, qr/returned: IPv6 only: not by A$/m, 'with what DNS makes of it');

# ---- limits
$n->http('PUT', '/v1/agent/service/register', { ID => "many$_", Name => 'many', Port => $_, Address => "10.0.0.$_" }) for 1 .. 5;
$n->wait_for(sub { @{$n->get_json('/v1/catalog/service/many')} == 5 }) or die;
like(why(0, 'many instances', 'many'), qr/^An answer over UDP without EDNS holds at most 3 of them/m, 'are cut in one answer, which is told');

# ---- an output that the catalog does not have yet: only the status is told at once
$n->stop;
$n = Node->new(dev => 1, name => 'n2', config => { enable_script_checks => JSON::PP::true });
$addr = "$n->{ip}:$n->{ports}{http}";
register({ ID => 'sick', Name => 'sick', Check => { Args => ['/bin/sh', '-c', 'echo no disk; exit 2'], Interval => '1s' } });
$n->wait_for(sub { $n->get_json('/v1/agent/checks')->{'service:sick'}{Output} =~ /no disk/ }) or die;
like(why(2, 'a check that fails from the start', 'sick'), qr/service:sick of the instance is critical, for its last result \d+ s ago: no disk$/m, 'is told with its output');
my $told = () = $n->log_text =~ /Check is now critical: check=service:sick/g;
is($told, 1, 'that it fails is in the log, once');
is($n->get_json('/v1/health/checks/sick')->[0]{Output}, '', 'which waits for check_update_interval in the catalog');
$n->stop;

# ---- without a leader
$n = Node->new(name => 'n3', wait => 'agent', config => { server => JSON::PP::true, bootstrap_expect => 2 },
	config_dir => { 'web.json' => '{"service": {"name": "web"}}' });
$addr = "$n->{ip}:$n->{ports}{http}";
$n->wait_for(sub { ($n->http('GET', '/v1/health/service/web?stale'))[0] == 200 }) or die;
my @alone = ctl({ addr => $addr }, qw(why web));
is($alone[0], 2, 'without a leader it is answered');
like($alone[1], qr/not returned: the agent has not written it to the catalog yet$/m, 'with what is known');
is($alone[2], "There is no leader: this is what the agent's server knew last.\n", 'which is said, once');
$n->stop;

# ---- rights
my $a = Acl::node(dev => 1, name => 'a1', tokens => { agent => $Acl::ROOT });
my $acl_addr = "$a->{ip}:$a->{ports}{http}";
is((Acl::http($a, $Acl::ROOT, 'PUT', '/v1/agent/service/register', { Name => 'web', Token => $Acl::ROOT }))[0], 200, 'with ACLs');
$a->wait_for(sub { my ($s, $b) = Acl::http($a, $Acl::ROOT, 'GET', '/v1/catalog/service/web'); $b =~ /ServiceID/ }) or die;
my @got = ctl({ addr => $acl_addr, env => { CONSUL_HTTP_TOKEN => $Acl::ROOT } }, qw(why web));
is($got[0], 2, 'DNS without a token returns nothing');
like($got[1], qr/not returned: the token of DNS may not read it/, 'for want of rights');
@got = ctl({ addr => $acl_addr }, qw(why web));
is($got[0], 1, 'nobody is told without rights');
unlike($got[1], qr/a1/, 'nothing of it');
like($got[2], qr/Permission denied/, 'but why');
done_testing;
