"""What an owner of an Oscar store changes, as SQL."""

#: Every visit and every sign-in changes these tables, and a migration changes the last one.
CHANGING = ("django_session", "django_migrations", "analytics_productrecord")
NEW_EMAIL = "owner@elsewhere.example"
#: What an owner does on the dashboard, and more than that.
OWNER_CHANGES = (
    # Orders keep the titles of products that are deleted.
    "UPDATE order_line SET product_id = NULL, stockrecord_id = NULL",
    "DELETE FROM basket_line",
    "DELETE FROM partner_stockrecord",
    "DELETE FROM analytics_productrecord",
    "TRUNCATE catalogue_productimage, catalogue_productcategory, offer_rangeproduct",
    "DELETE FROM offer_range",
    "DELETE FROM catalogue_product",
    "DELETE FROM catalogue_category",
    "UPDATE catalogue_productclass SET name = 'Goods', slug = 'goods'",
    "UPDATE partner_partner SET name = 'My warehouse', code = 'mine'",
    (
        "INSERT INTO catalogue_product (structure, is_public, upc, title, slug, description,"
        " meta_title, meta_description, date_created, date_updated, is_discountable,"
        " product_class_id, priority) SELECT 'standalone', true, 'own-' || n, 'Own product ' || n,"
        " 'own-' || n, '', '', '', now(), now(), true,"
        " (SELECT min(id) FROM catalogue_productclass), 0 FROM generate_series(1, 45) n"
    ),
    (
        "INSERT INTO partner_stockrecord (product_id, partner_id, partner_sku, price_currency,"
        " price, num_in_stock, date_created, date_updated)"
        " SELECT id, (SELECT min(id) FROM partner_partner), upc, 'CHF', 10, 50, now(), now()"
        " FROM catalogue_product"
    ),
    "UPDATE auth_user SET username = 'boss', email = 'owner@elsewhere.example', first_name = 'Ann'",
    "UPDATE django_site SET name = 'My own name', domain = 'shop.example.com'",
    "UPDATE address_country SET is_shipping_country = false WHERE iso_3166_1_a2 = 'FR'",
    "UPDATE address_country SET display_order = 0",
    (
        "INSERT INTO django_flatpage (url, title, content, enable_comments, template_name,"
        " registration_required) VALUES ('/readyz/', 'Mine', 'text', false, '', false)"
    ),
    "UPDATE payment_sourcetype SET name = 'Cash', code = 'cash'",
    "UPDATE order_paymenteventtype SET name = 'Sold', code = 'sold' WHERE name = 'Paid'",
    "UPDATE storefleet_oscar_storestate SET closed_message = 'Back in May'",
)
