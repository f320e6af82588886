#!/usr/bin/perl
# The commands against a real node.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use JSON::PP ();
use Node;
use Test::More;

my $n = Node->new(dev => 1, name => 'n1', config_dir => { 'web.json' => { service => { name => 'web', tags => ['rails'], port => 80 } } });
my $addr = "$n->{ip}:$n->{ports}{http}";
my $binary = join '', map { chr } 0 .. 255;

sub is_run
{
	my ($name, $args, $code, $out, $err, $opts) = @_;
	my @got = ctl({ addr => $addr, %{$opts // {}} }, @$args);

	is_deeply(\@got, [$code, $out, $err], $name) or diag explain \@got;
}

sub run_ok
{
	my ($name, @args) = @_;
	my @got = ctl({ addr => $addr }, @args);

	is_deeply([@got[0, 2]], [0, ''], $name) or diag explain \@got;
	return $got[1];
}

# kv
is_run('put', [qw(kv put a one)], 0, "Success! Data written to: a\n", '');
is_run('get', [qw(kv get a)], 0, "one\n", '');
is_run('a missing key', [qw(kv get b)], 1, '', "Error! No key exists at: b\n");
my ($index) = run_ok('its details', qw(kv get -detailed a)) =~ /^ModifyIndex +(\d+)$/m;
is_run('check and set', [qw(kv put -cas), "-modify-index=$index", qw(a two)], 0, "Success! Data written to: a\n", '');
is_run('the same again', [qw(kv put -cas), "-modify-index=$index", qw(a three)], 1, '', "Error! Did not write to a: CAS failed\n");
is_run('flags of 64 bits', [qw(kv put -flags=18446744073709551615 dir/flags x)], 0, "Success! Data written to: dir/flags\n", '');
like(run_ok('are kept', qw(kv get -detailed dir/flags)), qr/^Flags +18446744073709551615$/m, 'whole');
is_run('bytes', [qw(kv put dir/bytes -)], 0, "Success! Data written to: dir/bytes\n", '', { stdin => $binary });
is_run('come back', [qw(kv get dir/bytes)], 0, "$binary\n", '');
is_run('512 KiB', [qw(kv put big -)], 0, "Success! Data written to: big\n", '', { stdin => 'x' x 524288 });
is(length run_ok('come back', qw(kv get big)), 524289, 'whole');
my @got = ctl({ addr => $addr, stdin => 'x' x 524289 }, qw(kv put bigger -));
is($got[0], 1, 'more is refused');
like($got[2], qr/^Error! Failed writing data: Unexpected response code: 413 \(Request body\(524289 bytes\) too large, max size: 524288 bytes/, 'with 413');
is_run('keys of one level', [qw(kv get -keys)], 0, "a\nbig\ndir/\n", '');
is_run('odd keys', ['kv', 'put', "dir/sp ace?&%\x{c3}\x{b6}", 'odd'], 0, "Success! Data written to: dir/sp ace?&%\x{c3}\x{b6}\n", '');
is_run('come back', ['kv', 'get', "dir/sp ace?&%\x{c3}\x{b6}"], 0, "odd\n", '');
my $export = run_ok('export', qw(kv export dir/));
is(scalar @{JSON::PP->new->decode($export)}, 3, 'of three keys');
is_run('delete -recurse', [qw(kv delete -recurse dir/)], 0, "Success! Deleted keys with prefix: dir/\n", '');
is_run('leaves nothing', [qw(kv get -recurse dir/)], 0, '', '');
my @imported = ctl({ addr => $addr, stdin => $export }, qw(kv import -));
is($imported[0], 0, 'import');
is(run_ok('export again', qw(kv export dir/)), $export, 'is the same');
is_run('delete', [qw(kv delete a)], 0, "Success! Deleted key: a\n", '');
is_run('and again', [qw(kv delete a)], 0, "Success! Deleted key: a\n", '');

# members, catalog, services
like(run_ok('members', 'members'), qr/^Node +Address +Status +Type +Build +Protocol +DC +Segment\nn1 +\Q$n->{ip}\E:\d+ +alive +server +1\.10\.12 +2 +dc1 +<all>\n$/, 'the node itself');
is((ctl({ addr => $addr }, qw(members -status=left)))[0], 2, 'no member that left');
is_run('datacenters', [qw(catalog datacenters)], 0, "dc1\n", '');
like(run_ok('nodes', qw(catalog nodes)), qr/^Node +ID +Address +DC\nn1 +[0-9a-f]{8} +\Q$n->{ip}\E +dc1\n$/, 'one');
ok(wait_until(sub { (ctl({ addr => $addr }, qw(catalog services)))[1] eq "consul\nweb\n" }), 'services');
is_run('with tags', [qw(catalog services -tags)], 0, "consul      \nweb         rails\n", '');
is_run('nodes without the service', [qw(catalog nodes -service=none)], 0, '', "No nodes match the given query - try expanding your search.\n");
is_run('register', [qw(services register -name=redis -port=6379 -tag=a)], 0, "Registered service: redis\n", '');
is_run('is in the catalog', [qw(catalog services)], 0, "consul\nredis\nweb\n", '');
is_run('deregister', [qw(services deregister -id=redis)], 0, "Deregistered service: redis\n", '');
is_run('is out of it', [qw(catalog services)], 0, "consul\nweb\n", '');
is_run('deregister what is not there', [qw(services deregister -id=redis)], 0, "Deregistered service: redis\n", '');
spew("$n->{dir}/script.json", '{"service": {"name": "s", "check": {"args": ["true"], "interval": "10s"}}}');
@got = ctl({ addr => $addr }, 'services', 'register', "$n->{dir}/script.json");
is($got[0], 1, 'a script check is refused');
like($got[2], qr/^Error registering service "s": Unexpected response code: 500 \(Scripts are disabled on this agent from remote calls; /,
    'by the agent');

# maintenance
is_run('nothing is under maintenance', ['maint'], 0, '', '');
is_run('enable', [qw(maint -enable -reason), 'new disks'], 0, "Node maintenance is now enabled\n", '');
is_run('is shown', ['maint'], 0, "Node:\n  Name:   n1\n  Reason: new disks\n\n", '');
is_run('disable', [qw(maint -disable)], 0, "Node maintenance is now disabled\n", '');
is_run('of a service', [qw(maint -enable -service=web -reason=why)], 0, qq(Service maintenance is now enabled for "web"\n), '');
is_run('is shown', ['maint'], 0, "Service:\n  ID:     web\n  Reason: why\n\n", '');
ok(wait_until(sub { (ctl({ addr => $addr }, qw(watch -type=service -service=web -passingonly=true)))[1] eq "[]\n" }), 'and hidden');
is_run('disable', [qw(maint -disable -service=web)], 0, qq(Service maintenance is now disabled for "web"\n), '');
is((ctl({ addr => $addr }, qw(maint -enable -service=none)))[0], 1, 'of a service that is not there');

# the agent
like(run_ok('info', 'info'), qr/^agent:\n(\t.*\n)*.*^raft:\n(\t.*\n)*\tstate = Leader$/ms, 'has sections');
{
	my $job = ctl_start({ addr => $addr }, qw(monitor -log-level=debug));

	# Whether it has begun to listen cannot be seen, so that more than one line is made.
	my $i = 0;
	ok(wait_until(sub {
		ctl({ addr => $addr }, 'services', 'register', '-name=seen' . ++$i);
		$job->output =~ /^\d{4}-\d\d-\d\dT[\d:.]+Z? \[\w+\] +agent: Synced service: service=seen\d+$/m;
	}), 'monitor shows the log');
	$job->signal('INT');
	is(($job->finish)[0], 0, 'and ends when interrupted');
}
$n->config_dir_file('db.json', { service => { name => 'db' } });
is_run('reload', ['reload'], 0, "Configuration reload triggered\n", '');
ok(wait_until(sub { (ctl({ addr => $addr }, qw(catalog services)))[1] =~ /^db$/m }), 'takes effect');
is((ctl({ addr => $addr }, qw(force-leave nobody)))[0], 1, 'force-leave of nobody');
is((ctl({ addr => $addr }, 'join', '127.0.0.1:1'))[0], 1, 'join of nobody');
is_run('leave', ['leave'], 0, "Graceful leave complete\n", '');
is($n->wait_exit, 0, 'ends the agent');

done_testing;
