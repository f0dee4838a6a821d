<?php
/**
 * The store's MariaDB server. The first start copies the image's template with WordPress and
 * WooCommerce; every start sets the password of the store's user from its Secret.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/database-server.php';

DatabaseServer::create_data( '/var/lib/storefleet/database', '/opt/storefleet/template/database' );
DatabaseServer::run( DatabaseServer::write_init_file( Configuration::load() ) );
