#!/usr/bin/perl
# /v1/snapshot: archives flow through httpd in pieces, in both directions, whoever breaks off. raftd is played here.
use strict;
use warnings;
use Test::More;
use File::Temp ();
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Time::HiRes qw(time sleep);
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use Raw;

my $tmp = File::Temp->newdir("snapshot-$$-XXXXXX", TMPDIR => 1);
my $heard = "$tmp/heard";
my $archive = join '', map { pack('N', $_ * 2654435761 & 0xffffffff) } 1 .. 786433;	# not a multiple of anything
my $size = length $archive;
my ($server, $raftd, $httpd, $r, $c);

# What raftd was asked, one line a request: op, offset, bytes.
sub heard { open my $f, '<', $heard or return (); my @l = <$f>; chomp @l; return @l }
sub wait_for { my ($code, $s) = @_; my $end = time + ($s // 30); my $v; while (!($v = $code->()) && time < $end) { sleep 0.01 } return $v }
sub wait_heard { my ($re, $n) = @_; return wait_for(sub { (grep { /$re/ } heard()) >= ($n // 1) }) }

# One request as raftd answers it; %how turns things wrong.
sub answer
{
	my ($s, $name, $id, $chunk, $options, $how, $state) = @_;
	my $meta = Frame::pack_value({ Index => 7, LastContact => 3, KnownLeader => JSON::PP::true });
	my $reply = sub { Frame::send_frame($s, 2, 0, $Frame::OP{$name}, $id, $meta . $_[0]) };
	my $error = sub { Frame::send_frame($s, 2, 1, $Frame::OP{$name}, $id, Frame::pack_value({ Code => $_[0], Text => $_[1] })) };

	if ($name eq 'snapshot.save') {
		return $error->(500, 'No cluster leader') if $how->{no_leader};
		return $reply->(Frame::pack_value({ ID => 'x' x 16, Index => 42, Term => 2, Size => $size * ($how->{times} // 1) }));
	} elsif ($name eq 'snapshot.read') {
		return $error->(500, 'the snapshot is not known here') if $how->{lost} && $chunk->{Offset} >= $how->{lost};
		return if $how->{silent} && $chunk->{Offset} >= $how->{silent};
		my $piece = $chunk->{Offset} < $size * ($how->{times} // 1) ? substr($archive, $chunk->{Offset} % $size, $how->{piece} // 200000) : '';
		return $reply->(pack('CN', 0xc6, length $piece) . $piece);
	} elsif ($name eq 'snapshot.write') {
		return $error->(500, 'the snapshot is larger than any that is taken here') if $how->{full} && $chunk->{Offset} >= $how->{full};
		sleep $how->{slow} if $how->{slow} && $chunk->{Offset} > 0 && $chunk->{Offset} < 300_000;
		my $upload = \($state->{$chunk->{ID}} //= '');
		substr($$upload, $chunk->{Offset}) = $chunk->{Data} // '' if $chunk->{Offset} < 1e9;
		return $reply->("\xc0");
	} elsif ($name eq 'snapshot.restore') {
		return $error->(500, 'failed to decompress snapshot: gzip: invalid header') if $how->{bad};
		open my $f, '>', "$tmp/restored";
		print $f $state->{$chunk->{ID}} // '';
		close $f;
		rename "$tmp/restored", "$tmp/whole";
		return $reply->("\xc0");
	}
	$error->(500, "unexpected $name");
}

sub raftd
{
	my (%how) = @_;

	if ($raftd) {
		kill 'KILL', $raftd;
		waitpid $raftd, 0;
	}
	unlink $heard, "$tmp/whole";
	unlink "$httpd->{dir}/raftd.sock";
	$server = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Local => "$httpd->{dir}/raftd.sock", Listen => 8) or die "listen: $!";
	$raftd = fork // die "fork: $!";
	return if $raftd;
	open my $log, '>>', $heard;
	$log->autoflush(1);
	my $all = IO::Select->new($server);
	my %state;
	my $parent = getppid;
	while (getppid == $parent) {
		for my $s ($all->can_read(1)) {
			if ($s == $server) {
				$all->add($server->accept);
				next;
			}
			my ($kind, undef, $op, $id, $body) = Frame::read_frame($s);
			if (!defined $kind) { $all->remove($s); close $s; next }
			if ($kind != 1) { print $log "kind $kind\n"; next }
			my $options = Frame::unpack_value(\$body);
			my $chunk = length $body ? Frame::unpack_value(\$body) : {};
			printf $log "%s %s %d stale=%d\n", $Frame::NAME{$op}, $chunk->{Offset} // '-', length($chunk->{Data} // ''), ($options->{Consistency} // 0) == 2 ? 1 : 0;
			answer($s, $Frame::NAME{$op}, $id, $chunk, $options, \%how, \%state);
		}
	}
	POSIX::_exit(0);
}

my $port = do { my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die; $s->sockport };
$httpd = Frame::Daemon->new('httpd', { node_name => 'n1', node_id => '0' x 8, datacenter => 'dc1', log_level => 'debug',
	addresses => { http => ['127.0.0.1'] }, ports => { http => $port } });
my $to = { ip => '127.0.0.1', ports => { http => $port } };
sub ask { return Raw->new($to)->ask(@_) }

# ---- GET
raftd();
$r = ask('GET', '/v1/snapshot');
is $r->{status}, 200, 'GET';
is $r->{headers}{'Content-Type'}, 'application/x-gzip', 'type';
is $r->{headers}{'X-Consul-Index'}, 42, "the snapshot's index";
is "$r->{headers}{'X-Consul-Knownleader'} $r->{headers}{'X-Consul-Lastcontact'}", 'true 3', 'known leader, last contact';
ok $r->{body} eq $archive, 'every byte';
ok wait_heard(qr/^snapshot.read 18446744073709551615 /), 'raftd may forget it';
is((heard())[0], 'snapshot.save - 0 stale=0', 'asked in the default mode');
$r = ask('GET', '/v1/snapshot?stale', { 'Accept-Encoding' => 'gzip' });
ok $r->{body} eq $archive && !exists $r->{headers}{'Content-Encoding'}, 'not compressed once more';
is scalar(grep { /^snapshot.save - 0 stale=1/ } heard()), 1, '?stale is passed on';
is ask('GET', '/v1/snapshot?stale&consistent')->{status}, 400, 'both make no sense';
is ask('DELETE', '/v1/snapshot')->{status}, 405, 'other methods';

raftd(no_leader => 1);
$r = ask('GET', '/v1/snapshot');
is "$r->{status} $r->{body}", '500 No cluster leader', 'an error of saving';
raftd(lost => 0.5);
$r = ask('GET', '/v1/snapshot');
is $r->{status}, 200, 'an error half-way';
raftd(lost => 1);
my $whole = ask('GET', '/v1/snapshot');
ok length($whole->{body}) < $size, 'is an end before the end';
raftd(piece => 1);
$c = Raw->new($to);
$c->send("GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n");
ok wait_heard(qr/^snapshot.read/, 20), 'pieces of any size';
$c->close;
ok wait_heard(qr/^snapshot.read 18446744073709551615 /), 'a client that goes away: raftd may forget it';
raftd(silent => 400000);
$c = Raw->new($to);
$c->send("GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n");
ok wait_heard(qr/^snapshot.read 400000/), 'raftd takes its time';
is ask('GET', '/')->{body}, 'Consul Agent', 'others are served';
$c->close;
ok wait_heard(qr/^snapshot.read 18446744073709551615 /), 'and a client that goes away then is noticed';

# A client that reads nothing: what lies here for it is bounded.
raftd(times => 20);
$c = Raw->new($to);
$c->send("GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n");
my ($asked, $before) = (0, -1);
while ($asked != $before) {
	$before = $asked;
	sleep 0.3;	# there is no event for "nothing more is asked"
	($asked) = sort { $b <=> $a } 0, map { /^snapshot.read (\d{1,9}) / ? $1 : () } heard();
}
ok $asked < 20 * $size, "for a client that does not read $asked of @{[20 * $size]} bytes were asked";
$r = $c->reply;
ok $r->{body} eq $archive x 20, 'it gets all when it does';

# ---- PUT
raftd();
$r = ask('PUT', '/v1/snapshot', {}, $archive);
is "$r->{status} $r->{body}", '200 ', 'PUT';
ok !exists $r->{headers}{'Content-Type'}, 'without a body';
ok Node_slurp("$tmp/whole") eq $archive, 'every byte arrived';
is((heard())[-1], "snapshot.restore $size 0 stale=0", 'and was restored');
ok !(grep { /snapshot.write/ && / (\d+) stale/ && $1 > 262144 } heard()), 'in pieces';
sub Node_slurp { open my $f, '<', $_[0] or return ''; binmode $f; local $/; return <$f> }

$c = Raw->new($to);
$c->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
for (my $at = 0; $at < $size; $at += 70000) {
	my $piece = substr $archive, $at, 70000;
	$c->send(sprintf("%x\r\n", length $piece) . "$piece\r\n");
}
unlink "$tmp/whole";
$c->send("0\r\n\r\n");
is $c->reply->{status}, 200, 'in chunks';
ok Node_slurp("$tmp/whole") eq $archive, 'the same';
$r = $c->ask('PUT', '/v1/snapshot', {}, 'x');
is $r->{status}, 200, 'a small one, on the same connection';
is $c->ask('PUT', '/v1/snapshot', {}, '')->{status}, 200, 'an empty one reaches raftd, too';
is((heard())[-1], 'snapshot.restore 0 0 stale=0', 'which will refuse it');

unlink $heard;
raftd();
$r = ask('PUT', '/v1/snapshot?stale', {}, 'x' x 1000);
is "$r->{status} $r->{body}", '500 stale not allowed for restore', '?stale is refused';
is scalar(heard()), 0, 'before anything is sent on';
raftd(bad => 1);
$r = ask('PUT', '/v1/snapshot', {}, $archive);
is "$r->{status} $r->{body}", '500 failed to decompress snapshot: gzip: invalid header', "raftd's words";
raftd(full => 300000);
$c = Raw->new($to);
$r = $c->ask('PUT', '/v1/snapshot', {}, $archive);
is "$r->{status} $r->{body}", '500 the snapshot is larger than any that is taken here', 'an error half-way is told at the end';
is $c->ask('GET', '/')->{status}, 200, 'the connection goes on';
ok wait_heard(qr/^snapshot.write 18446744073709551615 /), 'and raftd may forget what it has';

# raftd does not take more: nor do we.
raftd(slow => 2);
$c = Raw->new($to);
$c->{s}->blocking(0);
my $body = $archive x 20;
my $out = "PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
my ($at, $idle) = (0, 0);
while ($at < length $out && $idle < 10) {
	my $n = syswrite $c->{s}, $out, 65536, $at;
	$at += $n // 0;
	$idle = defined $n ? 0 : $idle + 1;
	select undef, undef, undef, 0.05 if !defined $n;
}
ok $at < length $out, "backpressure: $at bytes of " . length($out) . ' were taken';
my $rss = Node_slurp("/proc/$httpd->{pid}/status") =~ /VmRSS:\s+(\d+)/ ? $1 : 0;
note "httpd has $rss KiB";
is ask('GET', '/')->{body}, 'Consul Agent', 'others are served';
$c->close;
ok wait_heard(qr/^snapshot.write 18446744073709551615 /), 'the client goes away: raftd may forget it';

# raftd dies in the middle.
raftd(slow => 20);
$c = Raw->new($to);
$c->send("PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: $size\r\n\r\n$archive");
ok wait_heard(qr/^snapshot.write/, 2), 'raftd dies in the middle of an upload';
raftd();
$r = $c->reply;
is $r->{status}, 500, 'that is an error';
like $r->{body}, qr/unknown|not known|missing/, 'and says so';

kill 'KILL', $raftd;
waitpid $raftd, 0;
my $status = $httpd->stop('TERM');
is $status, 0, 'httpd ends in order';
unlike $httpd->log, qr/Sanitizer|runtime error/, 'nothing was done wrong';
done_testing;
