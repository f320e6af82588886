#!/usr/bin/perl
# Snapshots of three servers: saved and restored anywhere, while others write, while leaders come and go, while clients give up.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Raw;

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "seed=$seed";
srand $seed;
my $c = Cluster->new(servers => 3);
my $leader = $c->leader;
my ($f, $g) = $c->followers;
my ($s, $h, $b, $r, $code, $out, $err);

# Bytes that do not compress: 24 MB of them.
my $noise = join '', map { pack 'N', int rand 2**32 } 1 .. 110000;
my $values = 60;
for my $i (1 .. $values) {
	is +($f->http('PUT', "/v1/kv/big/$i", substr($noise, $i, 400000)))[0], 200, "value $i" if $i % 20 == 0;
	$f->http('PUT', "/v1/kv/big/$i", substr($noise, $i, 400000)) if $i % 20;
}
$f->http('PUT', '/v1/kv/which', 'old');
sub is_state { my ($want, $name) = @_;
	for my $n ($c->running) {
		($s, undef, $b) = $n->http('GET', '/v1/kv/which?raw');
		is $b, $want, "$name: $n->{name}";
	} }
# Unnamed files of a raftd that are still open.
sub files { my ($n) = @_; my $pid = $c->pid($n, 'raftd') // return -1; return scalar grep { (readlink($_) // '') =~ m{\(deleted\)$} } glob "/proc/$pid/fd/*" }
sub transfer { my ($from) = @_;
	my $id = (grep { $_->{Node} eq $from->{name} } @{$from->get_json('/v1/operator/raft/configuration')->{Servers}})[0]{ID};
	return $from->http('POST', "/v1/operator/raft/transfer-leader?id=$id") }

# ---- save, everywhere
my $file = "$f->{dir}/old.snap";
for my $n ($leader, $f) {
	for my $flag ('', '-stale') {
		($code, $out, $err) = $n->ctl('snapshot', 'save', ($flag) x ($flag ne ''), $file);
		is $code, 0, "save $flag at $n->{name}" or diag $err;
		like $out, qr/^Saved and verified snapshot to index \d+\n\z/, 'says so';
	}
}
ok -s $file > 20e6, 'all of it';
is +(stat $file)[2] & 0777, 0600, 'for its owner alone';
ok !-e "$file.unverified", 'under its own name';
($code, $out) = $f->ctl('snapshot', 'inspect', '-kvdetails', '-kvdepth=1', $file);
like $out, qr/^ big\s+$values\s+22\.\dMB$/m, 'inspect';
ok $leader->wait_for(sub { !grep { files($_) } $c->nodes }), 'nothing is left open';
my $bytes = do { open my $fh, '<', $file or die; binmode $fh; local $/; <$fh> };

# Writes go on while it is made.
{
	my $pid = fork // die;
	if ($pid == 0) {
		open STDOUT, '>', '/dev/null';
		exec "$Node::BUILDDIR/consulctl/consulctl", 'snapshot', 'save', "-http-addr=$leader->{ip}:$leader->{ports}{http}", "$file.2" or POSIX::_exit(1);
	}
	my ($n, $worst) = (0, 0);
	while (waitpid($pid, POSIX::WNOHANG()) == 0) {
		my $t = time;
		$leader->http('PUT', '/v1/kv/other', $n++);
		$worst = time - $t if time - $t > $worst;
	}
	is $?, 0, 'saved while others wrote';
	cmp_ok $n, '>', 5, sprintf '%d writes meanwhile, the slowest took %.0f ms', $n, $worst * 1000;
}

# ---- a download breaks off
my $d = Raw->new($f);
$d->send("GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n");
ok $leader->wait_for(sub { files($leader) == 1 }), 'a client that does not read';
$d->close;
ok $leader->wait_for(sub { files($leader) == 0 }), 'goes away: its file too';
$d = Raw->new($f);
$d->send("GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n");
ok scalar(IO::Select->new($d->{s})->can_read(60)), 'another one has its first bytes';
kill 'KILL', $c->pid($leader, 'raftd');
$r = $d->reply;
ok !$r || length $r->{body} < ($r->{headers}{'Content-Length'} // 0), 'the leader dies: its download is cut short, which shows'
	or diag "$r->{status} ", length $r->{body}, ' ', explain $r->{headers};
$c->wait_all;

# ---- an upload breaks off
$f->http('PUT', '/v1/kv/which', 'new');
($leader) = $c->leader;
($f, $g) = $c->followers;
my $u = Raw->new($f);
$u->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($bytes) . "\r\n\r\n" . substr $bytes, 0, 3000000);
ok $leader->wait_for(sub { files($leader) == 1 }), 'half an upload';
$u->close;
ok $leader->wait_for(sub { files($leader) == 0 }), 'is forgotten when its client goes away';
$u = Raw->new($f);
$u->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($bytes) . "\r\n\r\n" . substr $bytes, 0, 3000000);
ok $leader->wait_for(sub { files($leader) == 1 }), 'another half';
is +(transfer($g))[0], 200, 'another server leads now';
ok $leader->wait_for(sub { files($leader) == 0 }), 'the one before forgets it';
$u->send(substr $bytes, 3000000);
$r = $u->reply(seconds => 60);
is $r->{status}, 500, 'that is an error';
like $r->{body}, qr/the leader has changed|unknown/, 'and says why' or diag $r->{body};
is_state('new', 'nothing was changed');

# ---- restore, while others write and wait
$leader = $c->leader;
($f, $g) = $c->followers;
my $wait = Raw->new($g);
my $index = ($g->http('GET', '/v1/kv/which'))[1]{'x-consul-index'};
$wait->send("GET /v1/kv/which?index=$index&wait=5m HTTP/1.1\r\nHost: x\r\n\r\n");
my $first = Raw->new($f);
$first->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($bytes) . "\r\n\r\n$bytes");
$leader->wait_log(qr/restoring a snapshot: .*/);
my $w = Raw->new($g);
$w->send("PUT /v1/kv/meanwhile HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
$r = $first->reply(seconds => 120);
is "$r->{status} $r->{body}", '200 ', 'a restore through a follower';
$r = $w->reply(seconds => 60);
is "$r->{status} $r->{body}", '200 true', 'a write meanwhile';
is +($g->http('GET', '/v1/kv/meanwhile?raw'))[2], 'x', 'comes behind it, and is there';
$r = $wait->reply(seconds => 60);
is $r->{status}, 200, 'who waited is woken';
cmp_ok $r->{headers}{'X-Consul-Index'}, '>', 0, 'with an index';
is_state('old', 'the old state is everywhere');
$f->http('PUT', '/v1/kv/later', 'x');
cmp_ok $f->get_json('/v1/kv/later')->[0]{ModifyIndex}, '>', $index, 'indexes go on';
my $again = "$f->{dir}/again.snap";
is +($f->ctl('snapshot', 'save', $again))[0], 0, 'saved again';
like +($f->ctl('snapshot', 'inspect', '-kvdetails', '-kvdepth=1', $again))[1], qr/^ big\s+$values\s+22\.\dMB$/m, 'holds the same';

# ---- the leader dies in the middle of one: the old state or the new one, whole, and the same everywhere
for my $round (1 .. 3) {
	$leader = $c->leader;
	($f, $g) = $c->followers;
	$f->wait_for(sub { ($f->http('PUT', '/v1/kv/which', "round$round"))[0] == 200 });
	my $at = -s $leader->{log};
	$first = Raw->new($f);
	$first->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($bytes) . "\r\n\r\n$bytes");
	$leader->wait_for(sub { Node::_slurp($leader->{log}, $at) =~ /restoring a snapshot:/ });
	sleep rand 0.2;
	kill 'KILL', $c->pid($leader, 'raftd');
	$r = $first->reply(seconds => 120);
	$c->wait_all;
	$c->wait_equal;
	my %seen = map { ($_->http('GET', '/v1/kv/which?raw'))[2] => 1 } $c->nodes;
	is scalar(keys %seen), 1, "killed in the middle: all have the same (answer $r->{status}): " . join ' ', keys %seen;
	like +(keys %seen)[0], $r->{status} == 200 ? qr/^old$/ : qr/^(?:old|round$round)$/, 'which is one of the two';
	my %big = map { scalar(@{$_->get_json('/v1/kv/big?keys&stale')}) => 1 } $c->nodes;
	is_deeply \%big, { $values => 1 }, 'whole';
}
is +($c->leader->ctl('snapshot', 'restore', $file))[0], 0, 'and the next restore works';
is_state('old', 'the old state is everywhere');

# ---- two at once: one of them is told to come again, or both follow each other
my @two = map { my $x = Raw->new($_); $x->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($bytes) . "\r\n\r\n$bytes"); $x } ($f, $g);
my @answers = map { $_->reply(seconds => 120) } @two;
is scalar(grep { $_->{status} == 200 } @answers) >= 1, 1, 'two restores at once: at least one is carried out';
like $_->{body}, qr/^(?:|another snapshot is being restored: try again when that is done)$/, "answer $_->{status}" for @answers;
# As many uploads as there may be, and one more.
$leader = $c->leader;
sub upload { my $x = Raw->new($leader); $x->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" . substr $bytes, 0, 600000); return $x }
my @many = map { upload() } 1 .. 4;
ok $leader->wait_for(sub { files($leader) == 4 }), 'four uploads are under way';
push @many, upload();
my ($refused) = grep { $_ } map { $_->send('x' x 8400000); $_->reply(seconds => 30) } $many[4];
is $refused->{status}, 429, 'a fifth upload at the same time is refused' or diag $refused->{body};
$_->close for @many;
ok $leader->wait_for(sub { files($leader) == 0 }), 'all are forgotten';
is +($f->http('GET', '/v1/kv/which?raw'))[2], 'old', 'nothing happened';
unlike $c->logs, qr/Sanitizer|runtime error/, 'nothing was done wrong';
done_testing;
