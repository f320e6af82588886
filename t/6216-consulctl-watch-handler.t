#!/usr/bin/perl
# consulctl watch: handlers that are URLs, and handlers that fail.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use File::Temp ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $dir = File::Temp->newdir;
my $value = "$dir/value";

# An agent with one key, whose value and index are those of a file: "INDEX VALUE".
sub set_value { my ($index, $text) = @_; spew("$value.new", "$index $text"); rename "$value.new", $value; }
set_value(10, 'b25l');
sub answer
{
	my ($r) = @_;
	my ($asked) = $r->{query} =~ /index=(\d+)/;
	my $end = time + 60;
	my ($index, $text);

	do {
		($index, $text) = split / /, slurp($value), 2;
		sleep 0.01;
	} while ($asked && $index == $asked && time < $end);
	return [200, qq([{"LockIndex":0,"Key":"a","Flags":0,"Value":"$text","CreateIndex":5,"ModifyIndex":$index}]), { 'X-Consul-Index' => $index }];
}
my @agent = ('GET /v1/agent/self' => '{"Config":{"NodeName":"n1"}}', 'GET /v1/kv/a' => \&answer);
my $a = FakeAgent->new(@agent);
my @watch = qw(watch -type=key -key=a);

# ---- a URL

{
	my $sink = FakeAgent->new('POST /hook/x' => '', 'POST /' => '');
	my $url = 'http://' . $sink->addr . '/hook/x?y=1#z';
	my $job = ctl_start({ addr => $a->addr }, @watch, "-http-handler=$url", '-http-header=X-A: b', '-http-header', 'x-c:d:e');

	ok(wait_until(sub { $sink->requests == 1 }), 'the data are sent at once');
	my ($r) = $sink->requests;
	is("$r->{method} $r->{path}?$r->{query}", 'POST /hook/x?y=1', 'where they should go');
	is($r->{body}, '{"Key":"a","CreateIndex":5,"ModifyIndex":10,"LockIndex":0,"Flags":0,"Value":"b25l","Session":""}', 'as JSON');
	is($r->{headers}{'x-consul-index'}, 10, 'with their index');
	is($r->{headers}{'content-type'}, 'application/json', 'and their type');
	is_deeply([@{$r->{headers}}{qw(x-a x-c)}], ['b', 'd:e'], 'and what was added');
	set_value(11, 'dHdv');
	ok(wait_until(sub { $sink->requests == 2 }), 'again when they change');
	is(($sink->requests)[1]{headers}{'x-consul-index'}, 11, 'with the new index');
	$job->signal('TERM');
	is_deeply([$job->finish], [0, '', ''], 'SIGTERM ends it');
	$job = ctl_start({ addr => $a->addr }, @watch, '-http-handler=http://' . $sink->addr, '-http-header=Content-Type:text/x');
	ok(wait_until(sub { $sink->requests == 3 }), 'a URL without a path');
	is(($sink->requests)[2]{headers}{'content-type'}, 'text/x', 'with another type');
	$job->signal('INT');
	$job->finish;
}
{
	my $sink = FakeAgent->new('PUT /x' => sub { my ($r) = @_; return $r->{headers}{'x-consul-index'} == 20 ? [500, 'no'] : '' });
	set_value(20, 'AAAA');
	my $job = ctl_start({ addr => $a->addr }, @watch, '-http-method=PUT', '-http-handler=http://' . $sink->addr . '/x');

	ok(wait_until(sub { $job->errors ne '' }), 'one that refuses');
	is($job->errors, 'Error executing handler: http://' . $sink->addr . "/x: the answer is 500: no\n", 'is told');
	set_value(21, 'BBBB');
	ok(wait_until(sub { $sink->requests == 2 }), 'and asked again with the next change');
	$job->signal('INT');
	$job->finish;
}
{
	my $slow = FakeAgent->new('POST /' => sub { sleep 100 });
	my $job = ctl_start({ addr => $a->addr }, @watch, '-http-timeout=50ms', '-http-handler=http://' . $slow->addr . '/');

	ok(wait_until(sub { $job->errors ne '' }), 'one that is slow');
	is($job->errors, 'Error executing handler: http://' . $slow->addr . "/: no answer in time\n", 'is given up');
	$job->signal('INT');
	is(($job->finish)[0], 0, 'the watch goes on');
	$job = ctl_start({ addr => $a->addr }, @watch, '-http-handler=http://' . $slow->addr . '/');
	wait_until(sub { $slow->requests == 2 });
	$job->signal('INT');
	is_deeply([$job->finish], [0, '', ''], 'waiting for one can be interrupted');
	$job = ctl_start({ addr => $a->addr }, @watch, '-http-handler=http://127.0.0.1:1/');
	ok(wait_until(sub { $job->errors =~ m{^Error executing handler: http://127.0.0.1:1/: dial tcp 127.0.0.1:1: connect: connection refused\n} }),
	    'one that is not there');
	$job->signal('INT');
	$job->finish;
}
for my $case (['-http-handler must begin with http:// or https://, not ftp://x', '-http-handler=ftp://x'],
	['-http-handler needs a host, without a user before it: http:///x', '-http-handler=http:///x'],
	['-http-handler needs a host, without a user before it: http://a:b@c/', '-http-handler=http://a:b@c/'],
	['-http-handler: a URL has no such characters: http://a/ b', '-http-handler=http://a/ b'],
	['-http-header must be NAME:VALUE, not x', '-http-handler=http://x', '-http-header=x'],
	['-http-header must be NAME:VALUE, not a b:c', '-http-handler=http://x', '-http-header=a b:c'],
	["-http-header must be NAME:VALUE, not a:b\r\nc", '-http-handler=http://x', "-http-header=a:b\r\nc"],
	['-http-method is no method: A B', '-http-handler=http://x', '-http-method=A B'],
	['-http-timeout must be above zero', '-http-handler=http://x', '-http-timeout=0s'],
	['Only one watch handler allowed', '-http-handler=http://x', 'true']) {
	my ($want, @args) = @$case;

	is_deeply([ctl({ addr => $a->addr }, @watch, @args)], [1, '', "$want\n"], $want);
}

# ---- a child that fails

{
	my $log = "$dir/log";
	my $job = ctl_start({ addr => $a->addr }, @watch, '-keep-going', "echo \$CONSUL_INDEX >>$log; exit 3");

	set_value(30, 'AAAA');
	ok(wait_until(sub { slurp($log) =~ /^30$/m }), 'a child that fails');
	set_value(31, 'BBBB');
	ok(wait_until(sub { slurp($log) =~ /^31$/m }), 'is run again with the next change');
	is(() = slurp($log) =~ /^30$/mg, 1, 'and not before');
	like($job->errors, qr/^Error executing handler: exit status 3$/m, 'the failure is told');
	$job->signal('TERM');
	is(($job->finish)[0], 0, 'until it is ended');
	is_deeply([ctl({ addr => $a->addr }, @watch, 'exit 3')], [1, '', "Error executing handler: exit status 3\n"], 'else it ends the watch');
	is_deeply([ctl({ addr => $a->addr }, @watch, '-shell=false', '/no/such')],
	    [1, '', "Error starting handler: /no/such: no such file or directory\n"], 'as does one that is not there');
}

# ---- through a socket, with a token

{
	my $u = FakeAgent->new(unix => "$dir/http.sock", @agent);
	my $got = "$dir/got";
	my $job = ctl_start({ env => { CONSUL_HTTP_TOKEN => 't0ken' } }, @watch, '-http-addr=' . $u->addr, qw(-stale -shell=false -- sh -c), "cat >$got");

	ok(wait_until(sub { slurp($got) =~ /"Key":"a"/ }), 'a watch through a Unix socket');
	ok((grep { $_->{path} eq '/v1/kv/a' && $_->{query} =~ /stale/ && ($_->{headers}{'x-consul-token'} // '') eq 't0ken' } $u->requests),
	    'with what the environment has');
	$job->signal('INT');
	is(($job->finish)[0], 0, 'ends');
}

done_testing;
