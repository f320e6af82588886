#!/usr/bin/perl
# A whole node on a disk that is full, then read-only: errors that say so, reads that go on, nothing half-written, no restart needed.
use strict;
use warnings;
use File::Temp ();
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";

# In a mount namespace of its own: nothing to clean up, whatever happens.
if (!$ENV{BAD_DISK_INSIDE}) {
	plan skip_all => 'mounting a small file system needs root' if $> != 0;
	plan skip_all => 'no mount namespaces here' if system('unshare -m true 2>/dev/null') != 0;
	$ENV{BAD_DISK_INSIDE} = 1;
	exec 'unshare', '-m', '--propagation', 'private', $^X, $0 or die "unshare: $!";
}
require Node;

my $tmp = File::Temp->newdir("disk-$$-XXXXXX", TMPDIR => 1);
my $fs = "$tmp/fs";
mkdir $fs;
plan skip_all => 'cannot mount a tmpfs here' if system("mount -t tmpfs -o size=96m tmpfs $fs 2>/dev/null") != 0;
my $owner = $$;
END { local $?; system "umount -l $fs 2>/dev/null" if defined $owner && $$ == $owner }

my $n = Node->new(start => 0, config => { data_dir => "$fs/data" }, config_dir => { 'web.json' => '{"service": {"name": "web", "port": 80}}' });
$n->{data_dir} = "$fs/data";
$n->start;
my %pids = $n->pids;

sub put { my ($k, $v) = @_; return $n->http('PUT', "/v1/kv/$k", $v) }
sub fill { system "cat /dev/zero >$fs/filler 2>/dev/null" }
sub files { my ($dir) = @_; opendir my $d, "$n->{data_dir}/$dir" or return (); return sort grep { !/^\./ } readdir $d }

ok $n->wait_for(sub { $n->dig('web.service.consul', '+short') eq "$n->{ip}\n" }), 'a node on a small disk';
is +(put('before', 'x'))[0], 200, 'a write while there is room';
is +($n->http('PUT', '/v1/agent/service/register', { Name => 'early', Check => { TTL => '1h' } }))[0], 200, 'a service, too';

# ---- full

fill();
my @r = put('full', 'x');
for (1 .. 100) {
	last if $r[0] == 500;
	@r = put("full", 'x' x 100_000);
}
is $r[0], 500, 'on a full disk a write is refused';
like $r[2], qr/disk is full/, 'and told why';
my ($rc, $out, $err) = $n->ctl('kv', 'put', 'cli', 'x');
is $rc, 1, 'the command fails';
like $err, qr/disk is full/, 'and says why';
is $out, '', 'on standard error alone';
is +($n->http('GET', '/v1/kv/before?raw'))[2], 'x', 'reads go on';
is +($n->http('GET', '/v1/kv/before?raw&consistent'))[2], 'x', 'consistent ones too';
is $n->dig('web.service.consul', '+short'), "$n->{ip}\n", 'so does DNS';
@r = $n->http('PUT', '/v1/txn', '[{"KV":{"Verb":"set","Key":"t1","Value":"eA=="}},{"KV":{"Verb":"set","Key":"t2","Value":"eA=="}}]');
is $r[0], 500, 'a transaction is refused as a whole';
@r = $n->http('PUT', '/v1/session/create', '{}');
is $r[0], 500, 'a session as well';

# What a daemon keeps in files: all of it, or an error and nothing.
my @before = map { [files($_)] } qw(services checks checks/state);
@r = $n->http('PUT', '/v1/agent/service/register', { Name => 'late', Meta => { map { ("k$_" => 'v' x 400) } 1 .. 60 } });
is $r[0], 500, 'a service that cannot be kept is refused';
like $r[2], qr/No space left on device/, 'and told why';
is +($n->http('GET', '/v1/agent/service/late'))[0], 404, 'it is not there';
is_deeply [map { [files($_)] } qw(services checks checks/state)], \@before, 'nor is half of it in a file';
$n->config_dir_file('web.json', '{"service": {"name": "web", "port": 81}}');
@r = $n->http('PUT', '/v1/agent/reload');
is $r[0], 500, 'a reload that cannot be written down is refused';
like $r[2], qr/No space left on device/, 'and told why';
is $n->get_json('/v1/agent/service/web')->{Port}, 80, 'and changes nothing';
is_deeply { $n->pids }, \%pids, 'no daemon has ended';

# A daemon that dies now finds what it needs when it is started again.
for my $name (qw(checkd gossipd httpd dnsd)) {
	my %p = $n->pids;
	kill 'KILL', $p{$name};
	ok $n->wait_for(sub { my %q = $n->pids; $q{$name} && $q{$name} != $p{$name} }), "$name starts again on the full disk";
}
ok $n->wait_for(sub { ($n->http('GET', '/v1/agent/service/early'))[0] == 200 }), 'with what it had';
ok $n->wait_for(sub { $n->dig('web.service.consul', '+short') eq "$n->{ip}\n" }), 'and serves it';

# ---- room again

unlink "$fs/filler";
ok $n->wait_for(sub { (put('after', 'y'))[0] == 200 }), 'with room writes are taken, without a restart';
@r = $n->http('PUT', '/v1/agent/reload');
is $r[0], 200, 'the reload too';
ok $n->wait_for(sub { $n->get_json('/v1/agent/service/web')->{Port} == 81 }), 'which is applied';
is +($n->http('PUT', '/v1/agent/service/register', { Name => 'late' }))[0], 200, 'and the service';
ok $n->wait_for(sub { @{$n->get_json('/v1/catalog/service/late')} == 1 }), 'which reaches the catalog';
my $keys = join ' ', grep { !/^full/ } @{$n->get_json('/v1/kv/?keys')};
is $keys, 'after before', 'nothing of what was refused is there';
$n->kill;
$n->start;
is join(' ', grep { !/^full/ } @{$n->get_json('/v1/kv/?keys')}), 'after before', 'nor after a kill -9';
is +($n->http('GET', '/v1/agent/service/early'))[0], 200, 'what was registered is';

# ---- started on a full disk, and on a read-only one

$n->stop;
fill();
$n->{wait} = 'none';
my $log = -s $n->{err};
$n->start;
$rc = $n->wait_exit(20);
if (defined $rc) {
	is $rc, 1, 'on a full disk it does not start';
	like Node::_slurp($n->{err}, $log), qr/^==> .*(No space left on device|disk is full)/m, 'and says why';
} else {
	is +($n->http('GET', '/v1/kv/before?raw'))[2], 'x', 'on a full disk it starts and reads';
	like +(put('no', 'x'))[2], qr/disk is full/, 'but does not write';
	$n->stop;
}
unlink "$fs/filler";
is system("mount -o remount,ro $fs"), 0, 'read-only now';
$log = -s $n->{err};
$n->start;
is $n->wait_exit, 1, 'on a read-only disk it does not start';
my @lines = grep { /\S/ } split /\n/, Node::_slurp($n->{err}, $log);
is scalar @lines, 1, 'one line on standard error' or diag @lines;
like $lines[0] // '', qr/^==> .*Read-only file system/, 'says why';
is system("mount -o remount,rw $fs"), 0, 'writable again';
$n->{wait} = 'leader';
$n->start;
is +($n->http('GET', '/v1/kv/after?raw'))[2], 'y', 'and all is there';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error|work still open/ } split /\n/, Node::_slurp($n->{log}) . $n->err_text), '', 'a clean end';
undef $n;
is system("umount $fs"), 0, 'nobody holds the disk';
done_testing;
