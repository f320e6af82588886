#!/usr/bin/perl
# Everything that was sent to one member, sent again and again in any order to all: nobody comes back, goes or leaves by it, and no event is
# heard twice. Plain, and sealed, where a replayed packet opens as well as the first time.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use List::Util qw(shuffle);
use Pool;
use Socket;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{TEST_SEED} // time ^ $$;
srand $seed;
note("seed $seed");

# A tap: packets to the address that the third member advertises are kept, and handed on to where it listens.
sub tap
{
	my ($pool, $to) = @_;
	my $ip = Pool::address();

	socket my $in, PF_INET, SOCK_DGRAM, 0 or die $!;
	setsockopt $in, SOL_SOCKET, SO_RCVBUF, 1 << 20;
	bind $in, scalar sockaddr_in($pool->{lan}, inet_aton($ip)) or die $!;
	return { ip => $ip, sock => $in, to => scalar(sockaddr_in($pool->{lan}, inet_aton($to))), kept => [] };
}

sub hand_on
{
	my ($t) = @_;

	while (IO::Select->new($t->{sock})->can_read(0)) {
		recv $t->{sock}, my $p, 65536, 0;
		push @{$t->{kept}}, $p;
		send $t->{sock}, $p, 0, $t->{to};
	}
	return 1;
}

for my $key ('', 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=') {
	my $how = $key ? 'sealed' : 'plain';
	my $pool = Pool->new(slice => { encrypt => $key });
	my $behind = Pool::address();
	my $tap = tap($pool, $behind);
	my $until = sub { my ($c) = @_; Pool::until(sub { hand_on($tap) && $c->() }) };
	my $see = sub { my ($want, @of) = @_; $until->(sub { !grep { !$_->sees($want) } @of }) || Pool::tell(@of) };
	my ($a, $b) = $pool->form(2);
	my $c = $pool->add(bind_addr => $behind, advertise_addr => $tap->{ip});
	$c->join($a);
	ok($see->({ n1 => 1, n2 => 1, n3 => 1 }, $a, $b, $c), "$how: a pool, one member behind a tap");

	# Something of everything: an event, a join, a leave, a failure.
	my (undef, $event) = $a->ask('gossip.event_fire', { Name => 'once', Payload => 'x' });
	my $heard = sub { my ($n) = @_; my (undef, $l) = $n->ask('gossip.event_list', {}); return join ' ', map { $_->{Name} } @$l };
	ok($until->(sub { !grep { $heard->($_) ne 'once' } $a, $b, $c }), "$how: an event");
	my $d = $pool->add;
	my $e = $pool->add;
	$_->join($b) for $d, $e;
	ok($see->({ map { +"n$_" => 1 } 1 .. 5 }, $a, $b, $c), "$how: two more");
	$d->start('gossip.leave');
	ok($see->({ n1 => 1, n2 => 1, n3 => 1, n4 => 3, n5 => 1 }, $a, $b, $c), "$how: one leaves");
	$e->stop('KILL');
	my $now = { n1 => 1, n2 => 1, n3 => 1, n4 => 3, n5 => 4 };
	ok($see->($now, $a, $b, $c), "$how: one is killed");
	my $kept = @{$tap->{kept}};
	cmp_ok($kept, '>', 30, "$how: $kept packets were kept");

	socket my $out, PF_INET, SOCK_DGRAM, 0 or die $!;
	bind $out, scalar sockaddr_in(0, inet_aton(Pool::address())) or die $!;
	my $again = sub {
		for my $p (shuffle @{$tap->{kept}}) {
			send $out, $p, 0, scalar sockaddr_in($_->{lan}, inet_aton($_->{ip})) for $a, $b;
			hand_on($tap);
		}
	};
	for my $round (1 .. 20) {
		my $before = $a->info->{gossipd}{lan_packets_received};

		$again->();
		# Received, not lost: then what it does has been done.
		$until->(sub { $a->info->{gossipd}{lan_packets_received} > $before + @{$tap->{kept}} / 2 }) or last;
		last if grep { !$_->sees($now) } $a, $b;
	}
	ok($see->($now, $a, $b), "$how: nobody comes, goes or leaves by what is sent again");
	is($heard->($a), 'once', "$how: no event is heard twice");
	is($heard->($b), 'once', "$how: nowhere");

	# What is sent again does not keep back what is new.
	(undef, $event) = $b->ask('gossip.event_fire', { Name => 'more', Payload => 'y' });
	ok($until->(sub { $heard->($a) eq 'once more' }), "$how: a new event is heard");
	$e->spawn;
	$e->connect;
	ok($see->({ %$now, n5 => 1 }, $a, $b), "$how: who was killed comes back");
	$again->() for 1 .. 5;
	ok($see->({ %$now, n5 => 1 }, $a, $b), "$how: and is not sent away again");
	unlike($_->log, qr/\[ERROR\]|runtime error|AddressSanitizer/, "$how: $_->{node} had nothing to complain about") for $a, $b;
}
done_testing;
