#!/usr/bin/perl
# consulctl watch against a real node.
use strict;
use warnings;
no warnings 'portable';
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use File::Temp ();
use JSON::PP ();
use Node;
use Test::More;

my $n = Node->new(dev => 1, name => 'n1');
my $addr = "$n->{ip}:$n->{ports}{http}";
my $o = { addr => $addr };
my $dir = File::Temp->newdir;

sub document { my ($code, $out) = ctl($o, 'watch', @_); return $code == 0 ? JSON::PP->new->allow_nonref->decode($out) : "exit $code"; }

# Once
is_deeply([ctl($o, qw(watch -type=key -key=none))], [0, "null\n", ''], 'a key that does not exist');
is_deeply([ctl($o, qw(watch -type=keyprefix -prefix=none))], [0, "null\n", ''], 'a prefix with nothing below');
$n->http('PUT', '/v1/kv/a?flags=18446744073709551615', "one\0");
my ($code, $out) = ctl($o, qw(watch -type=key -key=a));
like($out, qr/\A\{\n    "Key": "a",\n    "CreateIndex": \d+,\n    "ModifyIndex": \d+,\n    "LockIndex": 0,\n    "Flags": 18446744073709551615,\n    "Value": "b25lAA==",\n    "Session": ""\n\}\n\z/, 'a key');
is(document(qw(-type=keyprefix -prefix=a))->[0]{Key}, 'a', 'a prefix');
is_deeply(document(qw(-type=services)), { consul => [] }, 'services');
is(document(qw(-type=nodes))->[0]{Node}, 'n1', 'nodes');
is(document(qw(-type=checks))->[0]{CheckID}, 'serfHealth', 'checks');
is_deeply(document(qw(-type=checks -state=critical)), [], 'checks in a state');
is(document(qw(-type=service -service=consul))->[0]{Service}{Service}, 'consul', 'a service');
is_deeply(document(qw(-type=service -service=consul -tag=x -passingonly=true)), [], 'with a tag');

# Wrong usage
for my $case ([ 'Must specify a single key to watch', '-type=key' ], [ 'Must specify a single prefix to watch', '-type=keyprefix' ],
	[ 'Must specify a single service to watch', '-type=service' ], [ 'Unsupported watch type: x', '-type=x' ],
	[ 'Cannot specify service and state', qw(-type=checks -service=a -state=any) ],
	[ 'Invalid parameters: [key tag]', qw(-type=nodes -key=a -tag=b) ],
	[ 'Failed to parse passingonly flag: strconv.ParseBool: parsing "x": invalid syntax', qw(-type=service -service=a -passingonly=x) ]) {
	my ($sentence, @args) = @$case;

	is_deeply([ctl($o, 'watch', @args)], [1, '', "$sentence\n"], $sentence);
}
my @got = ctl($o, 'watch');
is($got[0], 1, 'without a type');
like($got[2], qr/^Watch type must be specified\n\nUsage: consulctl watch /, 'is told');
like((ctl({ addr => '127.0.0.1:1' }, qw(watch -type=nodes)))[2], qr/^Error querying Consul agent: Get .*connection refused$/, 'no agent');

# A child for every change
{
	my $job = ctl_start($o, qw(watch -type=key -key=a), "cat >>$dir/seen; echo \$CONSUL_INDEX >>$dir/index");
	my $lines = sub { return slurp("$dir/index") =~ tr/\n//; };

	ok(wait_until(sub { $lines->() == 1 }), 'the child runs at once');
	like(slurp("$dir/seen"), qr/\A\{"Key":"a",.*"Value":"b25lAA==","Session":""\}\n\z/, 'with the document in one line');
	$n->http('PUT', '/v1/kv/other', 'x');
	$n->http('PUT', '/v1/kv/a?flags=18446744073709551615', "one\0");
	$n->http('PUT', '/v1/kv/a', 'two');
	ok(wait_until(sub { $lines->() == 2 }), 'again after a change, and only then');
	like(slurp("$dir/seen"), qr/"Value":"dHdv",/, 'with what is new');
	my @index = split ' ', slurp("$dir/index");
	is($index[1], $n->get_json('/v1/kv/a')->[0]{ModifyIndex}, 'CONSUL_INDEX is the index');
	$n->http('DELETE', '/v1/kv/a');
	ok(wait_until(sub { $lines->() == 3 }), 'and after its deletion');
	like(slurp("$dir/seen"), qr/^null$/m, 'which is null');
	$job->signal('INT');
	is_deeply([$job->finish], [0, '', ''], 'an interrupt ends it');
}
{
	my $job = ctl_start($o, qw(watch -type=nodes), "sleep 1000 & echo \$! >$dir/pid; wait");

	ok(wait_until(sub { slurp("$dir/pid") =~ /\n/ }), 'a child that stays');
	$job->signal('TERM');
	is(($job->finish)[0], 0, 'ends with the watch');
	ok(wait_until(sub { !Node::alive(slurp("$dir/pid") + 0) }), 'and all that it had started');
}
is_deeply([ctl($o, qw(watch -type=nodes), 'cat >/dev/null; exit 4')], [1, '', "Error executing handler: exit status 4\n"], 'a child that fails ends the watch');
is_deeply([ctl($o, qw(watch -shell=false -type=nodes /nowhere/x))], [1, '', "Error starting handler: /nowhere/x: no such file or directory\n"],
    'so does one that cannot be started');

# Failures
{
	my $a = FakeAgent->new(
		'GET /v1/agent/self' => '{"Config":{"NodeName":"n"}}',
		'GET /v1/catalog/nodes' => [500, 'No cluster leader'],
	);
	my $job = ctl_start({ addr => $a->addr }, qw(watch -type=nodes));

	ok(wait_until(sub { $job->errors =~ /\n/ }), 'an error of the agent is told');
	like($job->errors, qr/\[ERROR\] watch: Watch errored: type=nodes error="Unexpected response code: 500 \(No cluster leader\)" retry=5s$/, 'and tried again');
	$job->signal('INT');
	is(($job->finish)[0], 0, 'an interrupt ends the pause');
	is((ctl({ addr => $a->addr }, qw(watch -type=services)))[0], 1, 'a question that the agent does not know is not repeated');
}

# Events, whose index is made of their IDs
{
	my @ids = ('b54fe110-7af5-cafc-d1fb-afc8ba432b1c', '00000000-0000-0001-0000-000000000002');
	my $a = FakeAgent->new(
		'GET /v1/agent/self' => '{"Config":{"NodeName":"n"}}',
		'GET /v1/event/list' => sub {
			my ($r) = @_;

			return [200, qq([{"ID":"$ids[0]","Name":"e"}]), { 'X-Consul-Index' => 0xb54fe1107af5cafc ^ 0xd1fbafc8ba432b1c }] if $r->{query} !~ /index=/;
			return [200, qq([{"ID":"$ids[0]","Name":"e"},{"ID":"$ids[1]","Name":"e"}]), { 'X-Consul-Index' => 3 }] if $r->{query} !~ /index=3/;
			sleep 100;
		},
	);
	my $job = ctl_start({ addr => $a->addr }, qw(watch -type=event -name=e), "cat >>$dir/events");

	ok(wait_until(sub { slurp("$dir/events") =~ tr/\n// == 2 }), 'events are shown');
	is(slurp("$dir/events"), qq([{"ID":"$ids[0]","Name":"e"}]\n[{"ID":"$ids[1]","Name":"e"}]\n), 'each once');
	$job->signal('INT');
	$job->finish;
}

done_testing;
