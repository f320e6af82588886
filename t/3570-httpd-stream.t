#!/usr/bin/perl
# /v1/stream: what it tells, in which form, from where on, to how many at the cost of one; and how it ends.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use Frame;
use JSON::PP ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# httpd beside a raftd that this script plays: keys with the index of their last change, deletions, instances.
my $index = 10;
my %keys = ('app/a' => 5, 'app/b' => 7, 'other' => 9);
my (%gone, $since_known, $refuse);
my @instances;
my $web_index = 8;
my $slow;	# nobody is woken
my ($n, %handlers);

sub kv_entry { my ($k) = @_; return { Key => $k, Value => 'v', ModifyIndex => $keys{$k} } }
sub changes
{
	my ($o, $q) = @_;
	my ($prefix, $since) = ($q->{Key} // '', $o->{MinIndex} // 0);
	return { error => 403, text => "Permission denied: token with AccessorID 'x' lacks permission 'key:read' on \"$prefix\"" } if $refuse;
	my $reset = $since == 0 || $since < ($since_known // 0);
	my @new = grep { index($_, $prefix) == 0 && ($reset || $keys{$_} > $since) } sort keys %keys;
	my @old = grep { index($_, $prefix) == 0 && $gone{$_} > $since } sort keys %gone;
	return undef if !$reset && !@new && !@old;
	return [{ Reset => $reset ? $true : $false, Entries => [map { kv_entry($_) } @new],
		Deleted => $reset ? [] : [map { { Key => $_, ModifyIndex => $gone{$_} } } @old] }, $index];
}
# Frame packs a map sorted by name, and raftd writes these in their order.
sub changes_reply
{
	my $c = changes(@_);
	return $c if ref $c ne 'ARRAY';
	my ($p, $i) = @$c;
	return { raw => Frame::pack_value({ Index => $i, KnownLeader => $true }) . "\x83" . Frame::pack_str('Reset') . Frame::pack_value($p->{Reset}) .
		Frame::pack_str('Entries') . Frame::pack_value($p->{Entries}) . Frame::pack_str('Deleted') . Frame::pack_value($p->{Deleted}) };
}
sub service
{
	my ($o) = @_;
	return ($o->{MinIndex} // 0) >= $web_index ? undef : [[@instances], $web_index];
}
%handlers = ('kv.changes' => \&changes_reply, 'health.service' => \&service,
	'health.node' => sub { my ($o) = @_; return ($o->{MinIndex} // 0) >= 3 ? undef : [[{ Node => 'n', CheckID => 'c', Status => 'passing' }], 3] });

sub start
{
	my $ip = Node::_address();
	my $port = Node::_free_port($ip);
	my $d = Frame::Daemon->new('httpd', { node_name => 'n1', node_id => '11111111-2222-3333-4444-555555555555', datacenter => 'dc1',
		server => $true, addresses => { http => [$ip] }, ports => { http => $port }, log_level => 'DEBUG' });

	$d->ask('daemon.info');
	@$d{qw(ip ports)} = ($ip, { http => $port });
	$d->{f} = FakeDaemons->new($d->{dir}, raftd => \%handlers);
	return $d;
}
$n = start();
sub info { my (undef, $i) = $n->ask('daemon.info'); return $i->{httpd} // $i->{(grep { exists $i->{$_}{streams} } keys %$i)[0]} }

# Raftd hears of changes: who waits is asked again.
sub wake
{
	for my $op (qw(kv.changes health.service)) {
		for my $q ($n->{f}->waiting($op)) {
			my $a = $handlers{$op}->($q->{o}, $q->{q});
			next if !defined $a;
			$n->{f}{waiting}{$op} = [grep { $_ != $q } $n->{f}->waiting($op)];
			$n->{f}->_send($q, $a);
		}
	}
}
sub put { my ($k) = @_; delete $gone{$k}; $keys{$k} = ++$index; wake() unless $slow }
sub remove { my ($k) = @_; delete $keys{$k}; $gone{$k} = ++$index; wake() unless $slow }
sub instance { my ($id, $i) = @_; return { Node => { Node => "n$id" }, Service => { ID => $id, ModifyIndex => $i }, Checks => [] } }

# A stream: its chunks taken apart as they come.
sub follow
{
	my ($query, %h) = @_;
	my $c = Raw->new($n);

	$c->send(join("\r\n", "GET /v1/stream?$query HTTP/1.1", 'Host: x', map { "$_: $h{$_}" } sort keys %h) . "\r\n\r\n");
	$n->{f}->serve(sub { $c->_more(time + 0.01); $c->{in} =~ /\r\n\r\n/ }) or die 'no head';
	$c->{in} =~ s/^(.*?\r\n)\r\n//s;
	$c->{head} = $1;
	@$c{qw(text ended)} = ('', 0);
	return $c;
}
sub take
{
	my ($c) = @_;

	$c->_more(time + 0.01);
	while ($c->{in} =~ /^([0-9a-fA-F]+)\r\n/) {
		my ($k, $skip) = (hex $1, length($1) + 2);
		last if length $c->{in} < $skip + $k + 2;
		$c->{text} .= substr $c->{in}, $skip, $k;
		substr($c->{in}, 0, $skip + $k + 2) = '';
		$c->{ended} = 1 if $k == 0;
	}
}
# So many events, decoded; fewer after the time.
sub events
{
	my ($c, $count, $seconds) = @_;

	$n->{f}->serve(sub { take($c); ($c->{text} =~ tr/\n//) >= $count }, $seconds);
	my @e;
	push @e, $json->decode($1) while @e < $count && $c->{text} =~ s/^([^\n]*)\n//;
	return @e;
}
sub brief { return join ' ', map { $_->{Type} . ($_->{Entry} ? ':' . ($_->{Entry}{Key} // $_->{Entry}{ServiceID} // $_->{Entry}{CheckID} // $_->{Entry}{Service}{ID}) : '') . "\@$_->{Resume}" } @_ }
sub quiet { my ($c) = @_; $n->{f}->serve(sub { take($c); length $c->{text} }, 0.3); return $c->{text} }
sub status { my $r = Raw->new($n)->ask('GET', "/v1/stream$_[0]"); return "$r->{status} $r->{body}" }
sub waits { my ($op, $count) = @_; return $n->{f}->serve(sub { $n->{f}->waiting($op) == $count }) }

# ---- refused
my $kinds = 'kv:PREFIX, service:NAME or node:NAME';
is status(''), "400 Missing topic: $kinds", 'no topic';
is status("?topic=$_->[0]"), "400 Invalid topic \"$_->[1]\": $kinds", "no topic: $_->[0]" for ['', ''], ['kv', 'kv'], ['service:', 'service:'],
	['KV:a', 'KV:a'], ['event:x', 'event:x'];
is status('?topic=kv:' . '&topic=kv:' x 64), '400 Too many topics, max: 64', 'too many';
is status("?topic=kv:&topic=kv:a&index=$_"), '400 Invalid index', "index $_" for qw(x -1 1.2.3 1. .1 1.x 99999999999999999999);
is status("?topic=kv:&heartbeat=$_"), '400 Invalid heartbeat: from 1s to 10m', "heartbeat $_" for qw(x 10 1ms 11m -5s), '';
is status('?topic=kv:&stale&consistent'), '400 Cannot specify ?stale with ?consistent, conflicting semantics.', 'contradictions';
is(Raw->new($n)->ask('PUT', '/v1/stream?topic=kv:')->{status}, 405, 'nothing can be written');

# ---- keys
my $s = follow('topic=kv:app/');
like $s->{head}, qr{^HTTP/1.1 200 OK.*^Content-Type: application/x-ndjson\r\n}ms, 'lines of JSON';
like $s->{head}, qr{^Cache-Control: no-store\r\n}m, 'for nobody to keep';
my @e = events($s, 4);
is brief(@e), 'reset@0 upsert:app/a@0 upsert:app/b@0 snapshot@10', 'first all there is';
is $json->encode($e[1]), '{"Entry":{"Key":"app/a","ModifyIndex":5,"Value":"v"},"Index":10,"Resume":"0","Topic":"kv:app/","Type":"upsert"}', 'as a whole';
ok waits('kv.changes', 1), 'then it waits';
put('app/c');
is brief(events($s, 1)), 'upsert:app/c@11', 'a new key';
put('other');
is quiet($s), '', 'one beside the prefix';
remove('app/a');
is brief(events($s, 1)), 'delete:app/a@13', 'one that goes';
$slow = 1;
put('app/b');
put('app/b');
remove('app/c');
$slow = 0;
wake();
is brief(events($s, 2)), 'upsert:app/b@13 delete:app/c@16', 'changes of a turn, of which each thing is told once';

# ---- resumed
my $t = follow('topic=kv:app/&index=13');
is brief(events($t, 2)), 'upsert:app/b@13 delete:app/c@16', 'what it has not been told';
$t->close;
$t = follow('topic=kv:app/', 'Last-Event-ID' => '16');
is quiet($t), '', 'by the header: nothing yet';
put('app/d');
is brief(events($t, 1)), 'upsert:app/d@17', 'then what comes';
events($s, 1);
ok waits('kv.changes', 1), 'and both share one question';
is info()->{streams} . ' ' . info()->{stream_topics}, '2 1', 'about one topic';
$t->close;
$since_known = 15;
$t = follow('topic=kv:app/&index=12');
is brief(events($t, 4)), 'reset@0 upsert:app/b@0 upsert:app/d@0 snapshot@17', 'too long ago: all there is';
$t->close;

# ---- instances
@instances = (instance('a', 8), instance('b', 8));
my $w = follow('topic=service:web&topic=kv:none/');
is brief(sort { $a->{Topic} cmp $b->{Topic} } events($w, 6)) =~ s/@\S+//gr, 'reset snapshot reset upsert:a upsert:b snapshot', 'a service and a prefix';
ok waits('health.service', 1), 'one question for the service';
@instances = (instance('b', 19), instance('c', 18));
$web_index = $index = 20;
wake();
@e = events($w, 3);
is brief(@e), 'upsert:b@8.17 upsert:c@8.17 delete:a@20.17', 'only what has changed, with places for both';
is $json->encode($e[2]{Entry}), '{"Node":"na","ServiceID":"a"}', 'who is gone';
my $w2 = follow('topic=service:web&index=20');
is quiet($w2), '', 'another one that knows all';
my $w3 = follow('topic=service:web&index=19');
is brief(events($w3, 4)), 'reset@0 upsert:b@0 upsert:c@0 snapshot@20', 'one that does not';
$web_index = ++$index;
wake();
is quiet($w), '', 'an index that moves without a difference';
@instances = (instance('c', 18));
$web_index = ++$index;
wake();
is brief(events($_, 1)) =~ s/\.\d+$//r, 'delete:b@22', 'all are told' for $w, $w2, $w3;
$_->close for $w, $w2, $w3;
$t = follow('topic=node:n');
is brief(events($t, 3)), 'reset@0 upsert:c@0 snapshot@3', 'the checks of a node';
$t->close;

# ---- a slow reader
my $big = follow('topic=kv:app/&index=' . $index);
for my $round (1 .. 200) {
	put("app/big$_") for 1 .. 5;
	$n->{f}->serve(sub { waits('kv.changes', 1) }, 5) if $round % 50 == 0;
}
my %last;
$n->{f}->serve(sub {
	take($big);
	while ($big->{text} =~ s/^([^\n]*)\n//) { my $e = $json->decode($1); $last{$e->{Entry}{Key}} = $e->{Entry}{ModifyIndex} if $e->{Entry} }
	return ($last{'app/big5'} // 0) == $index;
});
is $last{"app/big$_"}, $keys{"app/big$_"}, "the newest state of key $_ arrives" for 1 .. 5;
$big->close;

# ---- Server-Sent Events
my $sse = follow('topic=kv:ot&index=' . $index . '&heartbeat=1s', Accept => 'text/html, text/event-stream;q=0.9');
like $sse->{head}, qr{^Content-Type: text/event-stream\r\n}m, 'events, for who accepts them';
put('other');
$n->{f}->serve(sub { take($sse); $sse->{text} =~ /\n\n/ });
like $sse->{text}, qr/^id: $index\nevent: upsert\ndata: \{"Type":"upsert","Resume":"$index",.*\}\n\n/, 'each with the place to resume from';
ok $n->{f}->serve(sub { take($sse); $sse->{text} =~ /^: still here\n\n/m }), 'and comments while nothing happens';
$sse->close;
my $beats = follow("topic=kv:zzz&index=$index&heartbeat=1s");
is brief(events($beats, 1)), "heartbeat\@$index", 'a line does the same';
$beats->close;

# ---- rights
$refuse = 1;
$t = follow('topic=kv:secret/');
@e = events($t, 1);
is "$e[0]{Type} $e[0]{Status} $e[0]{Topic}", 'error 403 kv:secret/', 'what may not be read ends the stream';
like $e[0]{Text}, qr/lacks permission 'key:read'/, 'with the reason';
ok $n->{f}->serve(sub { take($t); $t->{ended} }), 'as its last event';
$refuse = 0;
for my $q ($n->{f}->waiting('kv.changes')) {
	$n->{f}{waiting}{'kv.changes'} = [grep { $_ != $q } $n->{f}->waiting('kv.changes')];
	$n->{f}->_send($q, { raw => Frame::pack_value({ Index => $q->{o}{MinIndex}, KnownLeader => $true }) . "\x83" . Frame::pack_str('Reset') .
		Frame::pack_value($false) . Frame::pack_str('Entries') . Frame::pack_value([]) . Frame::pack_str('Deleted') . Frame::pack_value([]) });
}
$s->{text} = '';
$n->{f}->serve(sub { take($s); $s->{text} =~ /"Type":"snapshot".*\n/ });
like $s->{text}, qr/"Type":"reset".*\n.*"Type":"snapshot"/s, 'an answer that no change has caused: all is told again';

# ---- raftd goes and comes
$n->{f}->end('raftd');
$s->{text} = '';
is quiet($s), '', 'without raftd nothing is told';
$n->{f}->play('raftd', \%handlers);
put('app/later');
$n->{f}->serve(sub { wake(); take($s); $s->{text} =~ /app\/later/ });
like $s->{text}, qr/"Key":"app\/later"/, 'then it goes on';

# ---- many, and ends
my @many = map { my $c = Raw->new($n); $c->send("GET /v1/stream?topic=kv:app/&index=$index HTTP/1.1\r\nHost: x\r\n\r\n"); $c } 1 .. 150;
ok $n->{f}->serve(sub { (info()->{streams} // 0) == 151 }), 'many';
is info()->{stream_topics}, 1, 'are one topic';
$_->close for @many[0 .. 74];
shutdown $_->{s}, 1 for @many[75 .. 149];
ok $n->{f}->serve(sub { (info()->{streams} // 0) == 1 }), 'those that hang up, or half, are gone';
kill TERM => $n->{pid};
ok $n->{f}->serve(sub { take($s); $s->{ended} || $s->{eof} }), 'the end of httpd ends a stream';
like $s->{text}, qr/\{"Type":"end","Resume":"$index"\}\n$/, 'which is told';
$n->wait;
unlike $n->log, qr/Sanitizer|runtime error/, 'a clean end';
done_testing;
