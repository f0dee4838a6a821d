<?php
/**
 * The store's MariaDB: its first start copies the server that the image carries, shop and all, and every start gives
 * the store's user the password that its Secret holds.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/server.php';

Server::make_data( '/var/lib/storefleet/database', '/opt/storefleet/template/database' );
Server::become( Server::first_words( Configuration::current() ) );
