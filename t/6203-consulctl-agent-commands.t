#!/usr/bin/perl
# Commands that ask the agent about itself or tell it to do something.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use Test::More;

sub member
{
	my ($name, $addr, $status, %tags) = @_;

	return sprintf '{"Name":"%s","Addr":"%s","Port":8301,"Status":%d,"Tags":{%s}}', $name, $addr, $status,
	    join ',', map { qq("$_":"$tags{$_}") } sort keys %tags;
}
my @members = (
	member('zeta', '10.0.0.9', 4, role => 'node', build => '1.10.12:', vsn => 2, dc => 'dc1'),
	member("n\x{c3}\x{b6}d", 'fe80::1', 1, role => 'node', build => '1.10.12:abc', vsn => 2, dc => 'dc1', segment => 'alpha'),
	member('srv', '10.0.0.1', 1, role => 'consul', build => '1.10.12:', vsn => 2, dc => 'dc1'),
	member('odd', '10.0.0.2', 3),
);
my $a = FakeAgent->new(
	'GET /v1/agent/members' => '[' . join(',', @members) . ']',
	'GET /v1/agent/self' => '{"Config":{"NodeName":"n1"},"Stats":{"raft":{"state":"Leader","last_log_index":"12"},' .
	    '"agent":{"checks":"1"},"empty":{}}}',
	'PUT /v1/agent/join/10.0.0.1' => '',
	'PUT /v1/agent/join/bad' => [500, "1 error occurred:\n\t* Failed to join bad\n\n"],
	'PUT /v1/agent/join/10.0.0.2:8301' => '',
	'PUT /v1/agent/leave' => '',
	'PUT /v1/agent/reload' => '',
	'PUT /v1/agent/force-leave/n2' => '',
	'PUT /v1/agent/force-leave/zz' => [500, "agent: No node found with name 'zz'"],
	'GET /v1/agent/checks' => '{"service:web":{"CheckID":"service:web"},' .
	    '"_node_maintenance":{"CheckID":"_node_maintenance","Notes":"moving"},' .
	    '"_service_maintenance:web1":{"CheckID":"_service_maintenance:web1","ServiceID":"web1","Notes":"why not"}}',
	'PUT /v1/agent/maintenance' => '',
	'PUT /v1/agent/service/maintenance/web1' => '',
	'PUT /v1/agent/service/maintenance/none' => [404, 'No service registered with ID "none"'],
	'PUT /v1/event/fire/deploy' => '{"ID":"b54fe110-7af5-cafc-d1fb-afc8ba432b1c","Name":"deploy"}',
	'GET /v1/agent/monitor' => { raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nline 1\n\r\n" },
);
my $o = { addr => $a->addr };

sub is_run
{
	my ($name, $args, $code, $out, $err) = @_;
	my @got = ctl($o, @$args);

	is_deeply(\@got, [$code, $out, $err], $name) or diag explain \@got;
}

sub starts_run
{
	my ($name, $args, $code, $first) = @_;
	my @got = ctl($o, @$args);

	is($got[0], $code, "$name: exit code");
	is($got[1], '', "$name: nothing on the standard output");
	like($got[2], qr/^\Q$first\E\n/, $name);
}

sub last_request { my $r = ($a->requests)[-1]; return "$r->{method} $r->{path}?$r->{query}"; }

# members
is_run('members', ['members'], 0, <<"EOT", '');
Node  Address         Status  Type     Build    Protocol  DC   Segment
srv   10.0.0.1:8301   alive   server   1.10.12  2         dc1  <all>
odd   10.0.0.2:8301   left    unknown                          
zeta  10.0.0.9:8301   failed  client   1.10.12  2         dc1  <default>
n\x{c3}\x{b6}d   [fe80::1]:8301  alive   client   1.10.12  2         dc1  alpha
EOT
is(last_request, 'GET /v1/agent/members?segment=_all', 'of all segments');
is_run('members -detailed', [qw(members -detailed -status=fail)], 0, <<'EOT', '');
Node  Address        Status  Tags
zeta  10.0.0.9:8301  failed  build=1.10.12:,dc=dc1,role=node,segment=<default>,vsn=2
EOT
is_run('members -status', [qw(members -status), '^(left|failed)$'], 0, <<'EOT', '');
Node  Address        Status  Type     Build    Protocol  DC   Segment
odd   10.0.0.2:8301  left    unknown                          
zeta  10.0.0.9:8301  failed  client   1.10.12  2         dc1  <default>
EOT
is_run('no member matches', [qw(members -status=zzz)], 2, '', '');
ctl($o, qw(members -wan));
is(last_request, 'GET /v1/agent/members?segment=_all&wan=1', 'members -wan');
starts_run('a bad expression', [qw(members -status), '('], 1, 'Failed to compile status regexp: missing closing )');

# join, leave, force-leave, reload, info
is_run('join', [qw(join 10.0.0.1 10.0.0.2:8301)], 0, "Successfully joined cluster by contacting 2 nodes.\n", '');
is_run('join of which one fails', [qw(join bad 10.0.0.1)], 0, "Successfully joined cluster by contacting 1 nodes.\n",
    "Error joining address 'bad': Unexpected response code: 500 (1 error occurred:\n\t* Failed to join bad)\n");
is_run('join of which all fail', [qw(join bad)], 1, '',
    "Error joining address 'bad': Unexpected response code: 500 (1 error occurred:\n\t* Failed to join bad)\nFailed to join any nodes.\n");
starts_run('join nobody', ['join'], 1, 'At least one address to join must be specified.');
is_run('leave', ['leave'], 0, "Graceful leave complete\n", '');
starts_run('leave somebody', [qw(leave n2)], 1, 'This command takes no arguments');
is_run('force-leave', [qw(force-leave -prune n2)], 0, '', '');
is(last_request, 'PUT /v1/agent/force-leave/n2?prune=1', 'with -prune');
is_run('force-leave -wan', [qw(force-leave -wan n2)], 0, '', '');
is(last_request, 'PUT /v1/agent/force-leave/n2?wan=1', 'in the other pool');
is_run('force-leave of nobody', [qw(force-leave zz)], 1, '',
    "Error force leaving: Unexpected response code: 500 (agent: No node found with name 'zz')\n");
starts_run('force-leave without a name', ['force-leave'], 1, 'A single node name must be specified to force leave.');
is_run('reload', ['reload'], 0, "Configuration reload triggered\n", '');
is_run('info', ['info'], 0, "agent:\n\tchecks = 1\nempty:\nraft:\n\tlast_log_index = 12\n\tstate = Leader\n", '');

# maint
is_run('maint lists', ['maint'], 0, <<'EOT', '');
Node:
  Name:   n1
  Reason: moving

Service:
  ID:     web1
  Reason: why not

EOT
is_run('maint -enable', [qw(maint -enable -reason), 'a b'], 0, "Node maintenance is now enabled\n", '');
is(last_request, 'PUT /v1/agent/maintenance?enable=true&reason=a+b', 'with its reason');
is_run('maint -disable', [qw(maint -disable)], 0, "Node maintenance is now disabled\n", '');
is_run('maint -enable -service', [qw(maint -enable -service=web1)], 0, qq(Service maintenance is now enabled for "web1"\n), '');
is_run('maint -disable -service', [qw(maint -disable -service=web1)], 0, qq(Service maintenance is now disabled for "web1"\n), '');
is_run('maint of an unknown service', [qw(maint -enable -service=none)], 1, '',
    qq(Error enabling service maintenance: Unexpected response code: 404 (No service registered with ID "none")\n));
is_run('maint both', [qw(maint -enable -disable)], 1, '', "Only one of -enable or -disable may be provided\n");
is_run('maint with a reason for nothing', [qw(maint -reason=x)], 1, '', "Reason may only be provided with -enable\n");
is_run('maint of a service, but what', [qw(maint -service=x)], 1, '', "Service requires either -enable or -disable\n");

# event
is_run('event', [qw(event -name=deploy -node=^web -service=web -tag=v1 payload)], 0, "Event ID: b54fe110-7af5-cafc-d1fb-afc8ba432b1c\n", '');
is(last_request, 'PUT /v1/event/fire/deploy?node=%5Eweb&service=web&tag=v1', 'with its filters');
is(($a->requests)[-1]{body}, 'payload', 'and its payload');
starts_run('event without a name', [qw(event payload)], 1, 'Event name must be specified');
is_run('a tag without a service', [qw(event -name=x -tag=y)], 1, '', "Cannot provide tag filter without service filter.\n");
starts_run('two payloads', [qw(event -name=x a b)], 1, 'Too many command line arguments.');

# monitor
is_run('monitor, when the agent goes', [qw(monitor -log-level=debug -log-json)], 1,
    "line 1\n\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.\n", '');
is(last_request, 'GET /v1/agent/monitor?logjson=true&loglevel=debug', 'the level is passed on');
{
	my $bad = FakeAgent->new('GET /v1/agent/monitor' => [400, 'Bad request: Unknown log level: zz']);
	my @got = ctl({ addr => $bad->addr }, qw(monitor -log-level=zz));

	is_deeply(\@got, [1, '', "Error starting monitor: Unexpected response code: 400 (Bad request: Unknown log level: zz)\n"],
	    'monitor with a bad level');
}
{
	my $slow = FakeAgent->new('GET /v1/agent/monitor' => sub { sleep 100; return '' });
	my $job = ctl_start({ addr => $slow->addr }, 'monitor');

	wait_until(sub { $slow->requests });
	$job->signal('INT');
	is_deeply([$job->finish], [0, '', ''], 'an interrupt ends monitor');
}

# without an agent
my @got = ctl({ addr => '127.0.0.1:1' }, 'maint');
like($got[2], qr{^Error querying Consul agent: Get "http://127.0.0.1:1/v1/agent/self": dial tcp 127.0.0.1:1: connect: connection refused$},
    'maint without an agent');

done_testing;
