-- Schema of renov_bati (requirements 8.2). Idempotent: what is there stays as it is.
-- The extensions postgis and vector are there already; they take a superuser.

-- Module A: properties to be renovated
CREATE TABLE IF NOT EXISTS target_properties (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    ban_id VARCHAR UNIQUE,
    address TEXT NOT NULL,
    coordinates GEOGRAPHY(POINT, 4326),
    parcel_ref VARCHAR,
    energy_class CHAR(1) CHECK (energy_class IN ('A', 'B', 'C', 'D', 'E', 'F', 'G')),
    dpe_ref VARCHAR,
    construction_year INTEGER,
    surface_m2 NUMERIC,
    last_transaction_date DATE,
    transaction_price INTEGER,
    roof_solar_potential VARCHAR,
    income_bracket VARCHAR,
    dju_heating INTEGER,
    score_priority INTEGER DEFAULT 0,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_target_coords ON target_properties USING GIST (coordinates);
CREATE INDEX IF NOT EXISTS idx_target_energy ON target_properties (energy_class);
CREATE INDEX IF NOT EXISTS idx_target_score ON target_properties (score_priority DESC);

-- Module C: technical products
CREATE TABLE IF NOT EXISTS technical_products (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    brand VARCHAR NOT NULL,
    model_ref VARCHAR UNIQUE,
    category VARCHAR CHECK (category IN (
        'PAC_AIR_EAU', 'PAC_AIR_AIR', 'ISOLATION_COMBLES', 'ISOLATION_MURS',
        'CHAUFFE_EAU_THERMO', 'SOLAIRE_THERMIQUE', 'SOLAIRE_PV'
    )),
    performance_metrics JSONB,
    certifications TEXT[],
    eligible_aid_codes TEXT[],
    is_subvention_eligible BOOLEAN DEFAULT FALSE,
    source_url TEXT,
    pdf_url TEXT,
    embedding VECTOR(1536),
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_product_embedding ON technical_products
    USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 128);
CREATE INDEX IF NOT EXISTS idx_product_category ON technical_products (category);

-- Module D: craftsmen and their reputation
CREATE TABLE IF NOT EXISTS artisans (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    siret VARCHAR(14) UNIQUE,
    name VARCHAR NOT NULL,
    location GEOGRAPHY(POINT, 4326),
    rge_certified BOOLEAN DEFAULT FALSE,
    rge_domains TEXT[],
    rge_expiry DATE,
    trust_score NUMERIC(3, 1),
    review_count INTEGER DEFAULT 0,
    review_summary TEXT,
    last_scraped_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_artisan_location ON artisans USING GIST (location);
CREATE INDEX IF NOT EXISTS idx_artisan_rge ON artisans (rge_certified);

-- Module B: scales of subsidies (MPR, CEE)
CREATE TABLE IF NOT EXISTS aid_schedules (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    year INTEGER NOT NULL,
    work_type VARCHAR NOT NULL,
    income_bracket VARCHAR NOT NULL,
    region VARCHAR DEFAULT 'metropole',
    amount_euros INTEGER NOT NULL,
    source VARCHAR DEFAULT 'ANAH',
    valid_from DATE,
    valid_until DATE,
    UNIQUE (year, work_type, income_bracket, region)
);
